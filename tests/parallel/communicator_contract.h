#pragma once
#include <span>

#include "parallel/communicator.h"

namespace lmnet::testing {

/// One thing that every Communicator promises, for every size of the group. `check` is called on all ranks and throws
/// std::runtime_error where the promise is broken.
struct ContractCase {
  const char* name;
  void (*check)(Communicator& group);
};

std::span<const ContractCase> communicator_contract();

}  // namespace lmnet::testing
