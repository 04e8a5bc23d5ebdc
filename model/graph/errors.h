#pragma once
#include <stdexcept>

namespace lmnet {

/// What the user typed is wrong: a config, an override, a topology, a layout. One sentence that names file and line or
/// key, and the way out. The process ends with code 2.
class ConfigError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace lmnet
