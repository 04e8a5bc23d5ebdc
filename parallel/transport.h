#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lmnet {

using SteadyClock = std::chrono::steady_clock;

/// Wakes the communication thread of a rank. A ring that comes while nobody waits is kept for the next wait.
class Bell {
 public:
  void ring();
  void wait_for(SteadyClock::duration time);

  /// How many threads wait for a collective: while some do, to poll is better than to sleep.
  std::atomic<int> waiters = 0;

 private:
  std::mutex mutex_;
  std::condition_variable rung_cv_;
  bool rung_ = false;
};

/// Why a rank of the job cannot go on.
struct Failure {
  int rank = 0;  ///< of the world
  int code = 0;  ///< exit code
  std::string cause;
  bool noticed_here = false;  ///< found by this rank's own communication, not told by fail()

  /// Throws it: CommunicationError when noticed here, else RankFailed.
  [[noreturn]] void raise() const;
};

/// One end of a message on its way. Long ones travel in parts, one after the other.
struct Packet {
  int peer = 0;  ///< rank of the world
  int tag = 0;   ///< the queue; between two ranks, messages of a tag keep their order
  bool receive = false;
  std::span<std::byte> part;    ///< what moves now
  std::span<std::byte> rest{};  ///< what moves later
  size_t total = 0;
  std::string_view collective{};
  bool done = false;

  /// Takes the next part off the rest.
  void next_part();
};

/// What the other end said of a message whose part has moved.
struct Arrival {
  Packet* message = nullptr;
  size_t bytes = 0;               ///< of the part; of the whole message where `collective` is known
  std::string_view collective{};  ///< empty where the transport does not carry it
};

/// Moves bytes between the ranks of a job. Used by the communication thread of its rank alone. What cannot be done
/// throws CommunicationError.
class Transport {
 public:
  virtual ~Transport() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// Whether empty messages are sent too, so that both ends find out when only one of them expects nothing.
  virtual bool carries_empty() const = 0;

  /// Begins to move `message.part`. The message and its memory stay where they are until they are collected.
  virtual void post(Packet& message) = 0;
  /// Lets messages move and appends those that have ended.
  virtual void collect(std::vector<Arrival>& arrivals) = 0;
  /// Gives up all messages under way. Later calls of collect() do not name them.
  virtual void cancel_all() noexcept = 0;

  /// Tells all other ranks; returns when that is done, or after `patience`.
  virtual void tell(const Failure& failure, SteadyClock::duration patience) = 0;
  /// The next of what other ranks have told.
  virtual std::optional<Failure> hear() = 0;

  /// Between two calls of collect(), when nothing has moved for `idle`; ends early when the bell rings.
  virtual void rest(Bell& bell, SteadyClock::duration idle) = 0;
};

}  // namespace lmnet
