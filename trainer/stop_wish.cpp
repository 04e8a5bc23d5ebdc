#include "trainer/stop_wish.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <csignal>

namespace lmnet {

StopWish::StopWish(const StopSignals& signals, const std::optional<Span>& time_limit)
    : signals_(signals), time_limit_(time_limit) {}

bool StopWish::here() const {
  return signals_.received() != 0 || (time_limit_ && seconds_since(started_) > time_limit_->value);
}

StopWish::Reason StopWish::agree(Communicator& world) const {
  at::Tensor received = at::full({1}, signals_.received(), at::kLong);
  world.all_reduce(received, Reduction::max);
  const int signal = static_cast<int>(received.item<int64_t>());
  if (signal == 0) return {"run.time_limit", 128 + SIGTERM};
  return {fmt::format("signal {}", StopSignals::name(signal)), 128 + signal};
}

}  // namespace lmnet
