#include "parallel/transport.h"

#include "parallel/errors.h"

namespace lmnet {

void Bell::ring() {
  {
    const std::lock_guard lock(mutex_);
    rung_ = true;
  }
  rung_cv_.notify_one();
}

void Bell::wait_for(SteadyClock::duration time) {
  std::unique_lock lock(mutex_);
  rung_cv_.wait_for(lock, time, [this] { return rung_; });
  rung_ = false;
}

void Failure::raise() const {
  if (noticed_here) {
    throw CommunicationError(cause);
  }
  throw RankFailed(rank, code, cause);
}

}  // namespace lmnet
