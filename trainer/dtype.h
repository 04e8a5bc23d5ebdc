#pragma once
#include <c10/core/ScalarType.h>

#include <string>

namespace lmnet {

/// `bf16`, `fp32`, `fp64`; of another type LibTorch's name.
const char* dtype_name(at::ScalarType dtype);

/// The type of such a name. Throws ConfigError for another one.
at::ScalarType dtype_named(const std::string& name);

}  // namespace lmnet
