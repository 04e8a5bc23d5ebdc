#pragma once
#include <string>

namespace lmnet {

/// Version, and a hash of the sources that this program was built from: `0.1.0 (sources 3f2a9c1b04d7)`. Ranks with
/// different ones do not understand each other.
std::string build_id();

}  // namespace lmnet
