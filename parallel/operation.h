#pragma once
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "parallel/communicator.h"
#include "parallel/transport.h"

namespace lmnet {

/// A part of a collective: messages, and what is done here before and after them.
struct Stage {
  /// A message to or from a rank of the group, not this one.
  struct Part {
    int peer = 0;
    bool receive = false;
    std::span<std::byte> bytes;
  };
  /// Makes the buffers and says what is to move. Not called before the stage begins.
  std::function<std::vector<Part>()> begin = {};
  /// Whether work elsewhere that the stage began has ended; asked until it says so.
  std::function<bool()> ready = {};
  /// Uses what has come.
  std::function<void()> end = {};
};

/// A collective on its way: its stages one after the other. Made by the thread that starts it, then run by the
/// communication thread, which frees stages and all that they hold as soon as they are done.
class Operation final : public Work::State {
 public:
  /// What the rank does, for errors, and how long nothing may move.
  struct Phase {
    std::string name;
    std::chrono::milliseconds timeout;
  };
  struct Setting {
    std::string_view collective;                      ///< what errors call it; a literal
    std::shared_ptr<const std::vector<int>> members;  ///< of the group: ranks of the world
    int queue = 0;
  };

  /// `after` runs in every wait() once the operation has ended well.
  Operation(Setting setting, std::deque<Stage> todo, std::function<void()> after = {})
      : stages(std::move(todo)), setting_(std::move(setting)), after_(std::move(after)) {}

  void wait() override;
  bool done() override;

  const Setting& setting() const { return setting_; }
  const Phase& phase() const { return *phase_; }
  /// Called once, before the communication thread sees the operation.
  void enter(std::shared_ptr<const Phase> phase, std::shared_ptr<Bell> bell);
  /// Ends it, well or with a failure, and wakes those that wait.
  void finish(std::shared_ptr<const Failure> failure);

  std::deque<Stage> stages;  ///< those that are not done; the communication thread's

 private:
  const Setting setting_;
  std::function<void()> after_;
  std::shared_ptr<const Phase> phase_;
  std::shared_ptr<Bell> bell_;  // of the thread that runs it
  std::atomic<bool> done_ = false;
  std::mutex mutex_;
  std::condition_variable ended_;
  std::shared_ptr<const Failure> failure_;
};

}  // namespace lmnet
