#pragma once
#include <stdexcept>

namespace lmnet {

/// Ranks cannot reach or understand each other. Names rank, collective and peer. The process ends with code 4.
class CommunicationError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace lmnet
