#pragma once
#include <functional>

#include "parallel/communicator.h"
#include "parallel/mpi_runtime.h"

namespace lmnet {

/// Starts MPI, runs `body` on all ranks and ends MPI. Errors are told here, the one place that does: by rank 0 when all
/// ranks have the same one, else by the rank that failed, which then fails all others: they end with its code and say
/// nothing, so that the first cause is the last line. Returns the exit code.
int on_ranks(int argc, char** argv, const std::function<int(const MpiRuntime&, Communicator&)>& body);

/// Prints an error for people and returns its exit code.
int tell(const std::exception& error);

}  // namespace lmnet
