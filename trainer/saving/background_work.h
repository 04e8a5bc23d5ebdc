#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

namespace lmnet {

/// One piece of work at a time, on a thread of its own.
class BackgroundWork {
 public:
  BackgroundWork() = default;
  /// Asks the work to stop and waits for it.
  ~BackgroundWork() { stop(); }
  BackgroundWork(const BackgroundWork&) = delete;
  BackgroundWork& operator=(const BackgroundWork&) = delete;

  /// Waits for the work before and begins this one, which ends early when it finds that it is asked to stop.
  void start(std::function<void(const std::stop_token&)> work);
  /// Asks the work to stop and waits for it.
  void stop();

  /// Whether the work is over, well or not, or none was ever begun.
  bool over() const { return over_; }
  /// Waits until it is over, or no longer than that; whether it is.
  bool wait_for(std::chrono::milliseconds time);
  /// Waits until it is over; why it failed, empty if it did not.
  const std::string& failure();
  /// Of all work that is over, what it took since the last call.
  double take_seconds() { return std::exchange(seconds_, 0); }

 private:
  std::atomic<bool> over_ = true;
  std::mutex mutex_;
  std::condition_variable over_cv_;
  std::string failure_;  // written by the thread before it is over, as are
  double seconds_ = 0;
  std::jthread thread_;
};

}  // namespace lmnet
