#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "parallel/communicator.h"

namespace lmnet {

/// The communicators of `size` ranks that are threads of this process; each is used by one thread at a time. Ranks that
/// disagree about a collective (another call, other counts) find out.
std::vector<std::unique_ptr<Communicator>> make_thread_communicators(int size);

/// Runs `body` on `size` ranks, each a thread with its share of the process's compute threads, and returns when all
/// are done. When one fails it fails the others; its exception, not theirs, is thrown here.
void run_ranks(int size, const std::function<void(Communicator&)>& body);

}  // namespace lmnet
