#include "trainer/saving/background_work.h"

#include <exception>

#include "trainer/clock.h"
#include "trainer/together.h"

namespace lmnet {

void BackgroundWork::start(std::function<void(const std::stop_token&)> work) {
  failure();
  failure_.clear();
  over_ = false;
  thread_ = std::jthread([this, work = std::move(work)](const std::stop_token& asked) {
    const auto start = Clock::now();
    try {
      work(asked);
    } catch (const std::exception& error) {
      failure_ = sentence(error);
    }
    {
      const std::lock_guard lock(mutex_);
      seconds_ += seconds_since(start);
      over_ = true;
    }
    over_cv_.notify_all();
  });
}

bool BackgroundWork::wait_for(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  return over_cv_.wait_for(lock, time, [this] { return over(); });
}

void BackgroundWork::stop() {
  thread_.request_stop();
  failure();
}

const std::string& BackgroundWork::failure() {
  if (thread_.joinable()) thread_.join();
  return failure_;
}

}  // namespace lmnet
