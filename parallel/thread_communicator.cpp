#include "parallel/thread_communicator.h"

#include <ATen/Parallel.h>
#include <omp.h>

#include <algorithm>
#include <exception>
#include <mutex>
#include <numeric>
#include <thread>

#include "parallel/errors.h"
#include "parallel/host_communicator.h"
#include "parallel/thread_transport.h"

namespace lmnet {
namespace {

/// The first exception that is not another rank's, or else the first.
class FirstCause {
 public:
  void add(std::exception_ptr error, bool from_elsewhere) {
    const std::lock_guard lock(mutex_);
    if (!first_ || (from_elsewhere_ && !from_elsewhere)) {
      first_ = std::move(error);
      from_elsewhere_ = from_elsewhere;
    }
  }
  void rethrow() const {
    if (first_) {
      std::rethrow_exception(first_);
    }
  }

 private:
  std::mutex mutex_;
  std::exception_ptr first_;
  bool from_elsewhere_ = false;
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> make_thread_communicators(int size) {
  std::vector<std::shared_ptr<Bell>> bells;
  for (int rank = 0; rank < size; ++rank) {
    bells.push_back(std::make_shared<Bell>());
  }
  std::vector<int> all(size);
  std::iota(all.begin(), all.end(), 0);
  std::vector<std::unique_ptr<Communicator>> communicators;
  for (std::unique_ptr<Transport>& transport : make_thread_transports(bells)) {
    const std::shared_ptr<Bell> bell = bells[transport->rank()];
    auto thread = std::make_shared<CommunicationThread>(std::move(transport), bell);
    communicators.push_back(std::make_unique<HostCommunicator>(std::move(thread), all, 1));
  }
  return communicators;
}

void run_ranks(int size, const std::function<void(Communicator&)>& body) {
  const auto communicators = make_thread_communicators(size);
  FirstCause cause;
  const int compute_threads = std::max(1, at::get_num_threads() / size);
  {
    std::vector<std::jthread> threads;
    for (const auto& communicator : communicators) {
      threads.emplace_back([&, compute_threads] {
        try {
          at::get_num_threads();  // sets this thread's default, which would undo what follows
          omp_set_num_threads(compute_threads);
          body(*communicator);
        } catch (const std::exception& error) {
          cause.add(std::current_exception(), dynamic_cast<const RankFailed*>(&error) != nullptr);
          communicator->fail(error.what(), 1);
        } catch (...) {
          cause.add(std::current_exception(), false);
          communicator->fail("an exception of unknown type", 1);
        }
      });
    }
  }
  cause.rethrow();
}

}  // namespace lmnet
