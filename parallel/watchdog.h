#pragma once
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace lmnet {

/// Watches collectives that run on a device, where no thread of the host waits for them. It notices when one does not
/// end, or when the job has failed elsewhere, and then ends what is on its way, so that whoever waits for the device
/// goes on and meets the error. One for each rank; safe to use from several threads.
class Watchdog {
 public:
  /// A collective on its way. Called from the watchdog's thread.
  class Watched {
   public:
    virtual ~Watched() = default;
    /// Whether all that comes before it on the device is done: its time runs from then on.
    virtual bool begun() = 0;
    virtual bool done() = 0;
    /// Lets its tensors go: it is done, or never will be.
    virtual void release() = 0;
  };

  /// What errors say of a collective.
  struct Label {
    std::string collective;
    std::vector<int> peers;  // ranks of the world, without this one
  };

  struct Hooks {
    std::function<void()> check;  // throws when the job has failed elsewhere; called several times a second
    std::function<void()> stop;   // ends what is on its way on the device; called once, after the first failure
  };

  /// `names`: what errors call each rank of the world.
  Watchdog(std::vector<std::string> names, int rank, Hooks hooks);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// What the rank does from now on, and how long a collective may then take.
  void enter(std::string phase, std::chrono::milliseconds timeout);
  std::chrono::milliseconds timeout() const;

  /// From now on until it is done. Collectives of one `queue` run one after the other, in this order.
  void watch(int queue, Label label, std::shared_ptr<Watched> collective);

  /// Keeps `cause`, unless there is one already, and stops the device.
  void fail(std::exception_ptr cause) noexcept;
  bool failed() const;
  /// Throws the first cause, if there is one.
  void check() const;

  /// The error of a collective that took too long: names rank, phase, collective, peers and since when.
  std::string too_long(const Label& label, std::string_view phase, std::chrono::milliseconds waited) const;
  std::string phase() const;
  /// What errors call this rank.
  const std::string& name() const { return names_[rank_]; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Entry {
    Label label;
    std::string phase;
    std::chrono::milliseconds timeout;
    std::shared_ptr<Watched> collective;
    Clock::time_point begun = {};  // when it was first seen to have begun
  };

  void run(const std::stop_token& stop);
  void look_at_collectives();
  void look_elsewhere();

  std::vector<std::string> names_;
  int rank_;
  Hooks hooks_;
  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  std::string phase_ = "start-up";
  std::chrono::milliseconds timeout_ = std::chrono::minutes(10);
  std::map<int, std::deque<Entry>> queues_;
  std::exception_ptr failure_;
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace lmnet
