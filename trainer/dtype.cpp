#include "trainer/dtype.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "model/graph/errors.h"

namespace lmnet {
namespace {

using Named = std::pair<const char*, at::ScalarType>;
constexpr std::array<Named, 3> kNames = {{{"bf16", at::kBFloat16}, {"fp32", at::kFloat}, {"fp64", at::kDouble}}};

}  // namespace

const char* dtype_name(at::ScalarType dtype) {
  const auto found = std::ranges::find(kNames, dtype, &Named::second);
  return found == kNames.end() ? at::toString(dtype) : found->first;
}

at::ScalarType dtype_named(const std::string& name) {
  const auto found = std::ranges::find_if(kNames, [&](const Named& named) { return name == named.first; });
  if (found == kNames.end()) throw ConfigError(fmt::format("\"{}\" is not built", name));
  return found->second;
}

}  // namespace lmnet
