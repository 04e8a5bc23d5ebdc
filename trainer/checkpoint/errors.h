#pragma once
#include <stdexcept>

namespace lmnet {

/// A checkpoint is missing, incomplete or damaged, or does not fit the network. Names the file and the tensor. The
/// process ends with code 3.
class CheckpointError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace lmnet
