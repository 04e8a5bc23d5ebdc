#include "parallel/watchdog.h"

#include <fmt/format.h>

#include <utility>

#include "parallel/errors.h"

namespace lmnet {
namespace {

constexpr std::chrono::milliseconds kWhileRunning{1};  // between two looks at collectives on their way
constexpr std::chrono::milliseconds kElsewhere{200};   // between two looks at the rest of the job

}  // namespace

Watchdog::Watchdog(std::vector<std::string> names, int rank, Hooks hooks)
    : names_(std::move(names)),
      rank_(rank),
      hooks_(std::move(hooks)),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

Watchdog::~Watchdog() {
  thread_.request_stop();
  thread_.join();
  for (auto& [queue, entries] : queues_)
    for (Entry& entry : entries) entry.collective->release();
}

void Watchdog::enter(std::string phase, std::chrono::milliseconds timeout) {
  const std::lock_guard lock(mutex_);
  phase_ = std::move(phase);
  timeout_ = timeout;
}

std::chrono::milliseconds Watchdog::timeout() const {
  const std::lock_guard lock(mutex_);
  return timeout_;
}

std::string Watchdog::phase() const {
  const std::lock_guard lock(mutex_);
  return phase_;
}

void Watchdog::watch(int queue, Label label, std::shared_ptr<Watched> collective) {
  {
    const std::lock_guard lock(mutex_);
    queues_[queue].push_back({std::move(label), phase_, timeout_, std::move(collective)});
  }
  changed_.notify_one();
}

void Watchdog::fail(std::exception_ptr cause) noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (failure_) return;
    failure_ = std::move(cause);
  }
  hooks_.stop();
}

bool Watchdog::failed() const {
  const std::lock_guard lock(mutex_);
  return failure_ != nullptr;
}

void Watchdog::check() const {
  const std::lock_guard lock(mutex_);
  if (failure_) std::rethrow_exception(failure_);
}

std::string Watchdog::too_long(const Label& label, std::string_view phase, std::chrono::milliseconds waited) const {
  std::vector<std::string> peers;
  for (const int peer : label.peers) peers.push_back(names_[peer]);
  return fmt::format("{}: {}{}{}: {}", names_[rank_], phase, phase.empty() ? "" : ": ", label.collective,
                     no_answer(peers, waited));
}

void Watchdog::run(const std::stop_token& stop) {
  auto looked_elsewhere = Clock::now();
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(mutex_);
      const bool running = !queues_.empty();
      changed_.wait_for(lock, stop, running ? kWhileRunning : kElsewhere, [&] { return !running && !queues_.empty(); });
    }
    look_at_collectives();
    if (Clock::now() - looked_elsewhere < kElsewhere) continue;
    look_elsewhere();
    looked_elsewhere = Clock::now();
  }
}

void Watchdog::look_at_collectives() {
  std::exception_ptr cause;
  std::vector<std::shared_ptr<Watched>> ended;  // let go of without the lock: their tensors may be large
  {
    const std::lock_guard lock(mutex_);
    try {
      const auto now = Clock::now();
      for (auto queue = queues_.begin(); queue != queues_.end();) {
        std::deque<Entry>& entries = queue->second;
        while (!entries.empty() && entries.front().collective->done()) {
          ended.push_back(std::move(entries.front().collective));
          entries.pop_front();
        }
        if (entries.empty()) {
          queue = queues_.erase(queue);
          continue;
        }
        Entry& first = entries.front();
        if (first.begun == Clock::time_point{} && first.collective->begun()) first.begun = now;
        if (!failure_ && first.begun != Clock::time_point{} && now - first.begun > first.timeout)
          throw CommunicationError(too_long(first.label, first.phase,
                                            std::chrono::duration_cast<std::chrono::milliseconds>(now - first.begun)));
        ++queue;
      }
    } catch (...) {
      cause = std::current_exception();
    }
  }
  for (const auto& collective : ended) collective->release();
  if (cause) fail(cause);
}

void Watchdog::look_elsewhere() {
  if (failed()) return;
  try {
    hooks_.check();
  } catch (...) {
    fail(std::current_exception());
  }
}

}  // namespace lmnet
