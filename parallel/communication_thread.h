#pragma once
#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "parallel/errors.h"
#include "parallel/operation.h"
#include "parallel/transport.h"

namespace lmnet {

/// The one thread of a rank that calls its transport. It runs the operations of each queue in their order and those of
/// different queues beside each other, gives up those of which nothing moves for longer than the time-out of their
/// phase, and hears of failures on other ranks. After a failure, its own or another rank's, everything that was or will
/// be started ends with it; one that was found here is told to all others at once.
class CommunicationThread {
 public:
  CommunicationThread(std::unique_ptr<Transport> transport, std::shared_ptr<Bell> bell);
  /// What is still under way goes on while something moves, since other ranks count on it; then it ends with
  /// CommunicationError.
  ~CommunicationThread();
  CommunicationThread(const CommunicationThread&) = delete;
  CommunicationThread& operator=(const CommunicationThread&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  /// How errors call a rank of the world: `rank 3`, until somebody knows better.
  std::string name(int rank) const;
  void set_names(std::vector<std::string> names);

  Work start(std::shared_ptr<Operation> operation);
  /// The name and the time-out of what is started from now on.
  void enter(std::string phase, std::chrono::milliseconds timeout);
  /// See Communicator::fail(). Returns when the others are told, or after little more than a second; at once where the
  /// job has failed already.
  void fail(const std::string& cause, int code) noexcept;
  /// `tell` is called with a failure that this rank has found: by fail() before the others know of it and may end this
  /// process, by the communication thread with one of its own before it ends anything. Of several ranks whose threads
  /// find one at the same moment, one tells.
  void tell_failures_with(TellFailure tell);
  /// `end` is called by the communication thread `grace` after a failure, when the process should be gone.
  void end_process_with(EndProcess end, std::chrono::milliseconds grace = std::chrono::seconds(5));

  /// A number for a new queue that no group of this rank has: the largest of all members' is free for all of them.
  int next_queue() const { return next_queue_; }
  void use_queue(int queue) { next_queue_ = std::max<int>(next_queue_, queue + 1); }

 private:
  /// Operations in their order, and how far the first of them is.
  struct Queue {
    std::deque<std::shared_ptr<Operation>> operations;
    bool begun = false;             // the stage
    std::vector<Packet> messages;   // of the stage
    size_t moving = 0;              // of them
    SteadyClock::time_point moved;  // when something did
  };

  void run();
  bool accept(SteadyClock::time_point moved);
  bool work(SteadyClock::time_point now);
  void collect(SteadyClock::time_point now);
  bool advance(Queue& queue, SteadyClock::time_point now);
  void begin_stage(Queue& queue, SteadyClock::time_point now);
  void post(Packet& message);
  void check(const Operation& operation, const Arrival& arrival) const;
  void check_time(const Queue& queue, SteadyClock::time_point now) const;
  Failure failure_of(const Operation& operation, std::string_view what) const;
  void break_off(Failure failure);
  void tell_others(Failure& failure);
  void end_ignored_process(SteadyClock::time_point now);
  void abandon();

  const std::unique_ptr<Transport> transport_;
  const std::shared_ptr<Bell> bell_;
  const int rank_, size_;
  std::atomic<int> next_queue_ = 2;  // 1 is the world's

  mutable std::mutex mutex_;  // of what follows, up to `unfinished_`
  std::condition_variable told_cv_;
  std::vector<std::string> names_;
  std::vector<std::shared_ptr<Operation>> started_;  // and not yet seen by the thread
  std::shared_ptr<const Operation::Phase> phase_;
  std::optional<Failure> request_;  // of fail()
  std::shared_ptr<const Failure> failure_;
  bool told_ = false;                              // all others of it
  std::optional<SteadyClock::time_point> closed_;  // then the thread is to end
  TellFailure tell_failure_;
  EndProcess end_process_;
  std::chrono::milliseconds grace_{};
  std::atomic<int> unfinished_ = 0;

  // The thread's own.
  std::map<int, Queue> queues_;
  std::vector<Arrival> arrivals_;
  std::vector<Queue> remains_;  // after a failure: MPI may still write to their memory
  bool broken_ = false;
  SteadyClock::time_point broken_at_;

  std::jthread thread_;
};

}  // namespace lmnet
