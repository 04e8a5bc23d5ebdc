#include "parallel/operation.h"

#include <thread>

namespace lmnet {
namespace {

/// To sleep and to be woken takes longer than most small collectives.
constexpr std::chrono::microseconds hoping_time{50};

}  // namespace

void Operation::enter(std::shared_ptr<const Phase> phase, std::shared_ptr<Bell> bell) {
  phase_ = std::move(phase);
  bell_ = std::move(bell);
}

void Operation::wait() {
  if (!done()) {
    bell_->waiters.fetch_add(1, std::memory_order_relaxed);
    bell_->ring();
    const SteadyClock::time_point hope = SteadyClock::now() + hoping_time;
    while (!done() && SteadyClock::now() < hope) {
      std::this_thread::yield();
    }
    {
      std::unique_lock lock(mutex_);
      ended_.wait(lock, [this] { return done_.load(std::memory_order_relaxed); });
    }
    bell_->waiters.fetch_sub(1, std::memory_order_relaxed);
  }
  if (failure_) {
    failure_->raise();
  }
  if (after_) {
    after_();
  }
}

bool Operation::done() {
  return done_.load(std::memory_order_acquire);
}

void Operation::finish(std::shared_ptr<const Failure> failure) {
  stages.clear();
  const std::lock_guard lock(mutex_);
  failure_ = std::move(failure);
  done_.store(true, std::memory_order_release);
  ended_.notify_all();
}

}  // namespace lmnet
