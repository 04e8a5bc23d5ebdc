#pragma once
#include <stdexcept>
#include <string>
#include <string_view>

namespace lmnet {

/// A file of weights is missing or broken, or does not fit its config. Names the file and the tensor. The process ends
/// with code 3.
class WeightsError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A name out of a file, fit for an error's sentence: without control characters, cut when it is long. `text` is UTF-8.
std::string shown(std::string_view text);

}  // namespace lmnet
