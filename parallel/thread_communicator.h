#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "parallel/communicator.h"

namespace lmnet {

/// The communicators of `size` ranks that are threads of this process; each is used by one thread at a time. A
/// collective in which the ranks disagree (another call, other counts) throws CommunicationError on all of them; after
/// abort() on one rank every other one gets it at its next or present wait, in this group and all split from it.
std::vector<std::unique_ptr<Communicator>> make_thread_communicators(int size);

/// Runs `body` on `size` ranks, each a thread with its share of the process's compute threads, and returns when all
/// are done. When one fails it ends the others; its exception, not theirs, is thrown here.
void run_ranks(int size, const std::function<void(Communicator&)>& body);

}  // namespace lmnet
