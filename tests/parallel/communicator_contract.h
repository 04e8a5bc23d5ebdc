#pragma once
#include <span>

#include "parallel/communicator.h"

namespace lmnet::testing {

/// One thing that every Communicator promises, for every size of the group from `ranks` on. `check` is called on all
/// ranks with tensors on `device` and throws std::runtime_error where the promise is broken.
struct ContractCase {
  const char* name;
  void (*check)(Communicator& group, at::Device device);
  int ranks = 1;
};

/// Every collective on its own, and groups, queues and works: the group can be used on.
std::span<const ContractCase> communicator_contract();
std::span<const ContractCase> communicator_queues();

/// Everything that ends in a failure: each case needs a new job.
std::span<const ContractCase> communicator_failures();

}  // namespace lmnet::testing
