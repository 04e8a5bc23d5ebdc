#pragma once
#include <stdexcept>

namespace lmnet {

/// A data file or record is missing or broken. One sentence that names file and record. The process ends with code 3.
class DataError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace lmnet
