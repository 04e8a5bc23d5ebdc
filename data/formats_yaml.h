#pragma once
#include <string>

namespace lmnet {

/// The text of data/formats.yaml, which the build puts into the binary.
std::string formats_yaml();

}  // namespace lmnet
