#pragma once
#include <atomic>
#include <functional>
#include <stop_token>
#include <string>
#include <thread>

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
  /// Waits until it is over; why it failed, empty if it did not.
  const std::string& failure();

 private:
  std::atomic<bool> over_ = true;
  std::string failure_;  // written by the thread before it is over
  std::jthread thread_;
};

}  // namespace lmnet
