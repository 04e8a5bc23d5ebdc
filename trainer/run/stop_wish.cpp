#include "trainer/run/stop_wish.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <csignal>
#include <ctime>
#include <system_error>

namespace lmnet {
namespace {

/// Before the end of a job: for what was not foreseen, or a tenth of a short job.
constexpr double kMargin = 60;
/// Between two looks at files and clocks.
constexpr double kInterval = 0.2;

double seconds_until(int64_t time) {
  return static_cast<double>(time - std::time(nullptr));
}

}  // namespace

StopWish::StopWish(const StopSignals& signals, const RunConfig& run, bool first_rank, const Variables& variables)
    : signals_(signals), run_(run) {
  if (!first_rank) return;
  job_end_.emplace(variables);
  if (job_end_->time()) margin_ = std::clamp(seconds_until(*job_end_->time()) / 10, 0.0, kMargin);
}

void StopWish::heed_requests() {
  heeds_requests_ = true;
  std::error_code none_there;
  std::filesystem::remove(request_in(run_.folder()), none_there);
}

bool StopWish::here() {
  return cause() != none;
}

bool StopWish::anywhere(Communicator& world) {
  at::Tensor wanted = at::full({1}, cause(), at::kLong);
  world.all_reduce(wanted, Reduction::max);
  return wanted.item<int64_t>() != none;
}

StopWish::Reason StopWish::agree(Communicator& world) {
  at::Tensor greatest = at::full({1}, cause(), at::kLong);
  world.all_reduce(greatest, Reduction::max);
  const auto cause = greatest.item<int64_t>();
  switch (cause) {
    case time_limit:
      return {"run.time_limit", 128 + SIGTERM};
    case end_of_job:
      return {"the end of the Slurm job", 128 + SIGTERM};
    case request:
      return {"lmnet stop", 128 + SIGTERM};
    default:
      const int number = static_cast<int>(cause - signal);
      return {fmt::format("signal {}", StopSignals::name(number)), 128 + number};
  }
}

int64_t StopWish::cause() {
  if (signals_.received() != 0) return signal + signals_.received();
  if (job_end_ && seen_ == none && seconds_since(looked_) > kInterval) {
    seen_ = look();
    looked_ = Clock::now();
  }
  return seen_;
}

StopWish::Cause StopWish::look() {
  std::error_code unreadable;
  if (heeds_requests_ && std::filesystem::exists(request_in(run_.folder()), unreadable)) return request;
  if (job_ends_soon()) return end_of_job;
  if (run_.time_limit && seconds_since(started_) > run_.time_limit->value) return time_limit;
  return none;
}

bool StopWish::job_ends_soon() {
  if (!job_end_->time()) return false;
  // The update under way, which may have to wait for a save, and a save of it; an update more for slow ones.
  const auto soon = [&] {
    return seconds_until(*job_end_->time()) < margin_ + 2 * longest_update_ + 2 * longest_save_;
  };
  if (!soon()) return false;
  job_end_->ask_again();
  return soon();
}

}  // namespace lmnet
