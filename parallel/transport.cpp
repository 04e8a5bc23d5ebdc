#include "parallel/transport.h"

#include <algorithm>

#include "parallel/errors.h"

namespace lmnet {
namespace {

/// What a pair of ranks exchanges at a time: MPI counts are int, and every part that ends shows that the other is
/// alive.
constexpr size_t part_bytes = size_t{8} << 20;

}  // namespace

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

void Packet::next_part() {
  part = rest.first(std::min(part_bytes, rest.size()));
  rest = rest.subspan(part.size());
}

}  // namespace lmnet
