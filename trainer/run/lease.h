#pragma once
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "model/graph/errors.h"

namespace lmnet {

/// The process that a run folder belongs to, as `lease.json` in it tells.
struct LeaseHolder {
  std::string host;
  std::string machine;  // boot and process namespace: process numbers mean something inside one only
  int64_t pid = 0;
  int64_t born = 0;   // the process's start in clock ticks since the boot: numbers are used again
  std::string since;  // when the lease was taken, in UTC
  std::string id;     // of the lease
};

/// This process, with an id of its own.
LeaseHolder this_process();

struct LeaseTimes {
  std::chrono::milliseconds heartbeat{5'000};
  std::chrono::milliseconds stale{60'000};  // without a heartbeat for so long, a holder elsewhere counts as dead
};

/// What is known of the lease of a run folder.
struct LeaseState {
  enum class Kind { free, held, dead };  // dead: its holder has ended, or was not heard of for too long
  Kind kind = Kind::free;
  LeaseHolder holder;
  std::chrono::milliseconds silent{};  // since its last heartbeat
};
/// Ages are taken by the clock of the folder's disk. Throws CheckpointError for a lease that cannot be read.
LeaseState look_at_lease(const std::filesystem::path& folder, LeaseTimes times = {});

/// A run folder is another one's.
class LeaseHeld : public ConfigError {
 public:
  using ConfigError::ConfigError;
};

/// Makes a run folder this process's, among all hosts that see the folder, until it is destroyed. `lease.json` comes
/// into being whole or not at all (link(2), which NFS keeps to), and a thread renews its time of change; ages are
/// taken between two files of the same disk, so that the hosts' clocks may differ. The lease of a process that is dead
/// on this machine, or silent elsewhere, is taken over at once.
class RunLease {
 public:
  /// The folder exists. Throws LeaseHeld that names the holder where the folder is another's and stays so for
  /// `patience`, CheckpointError where it cannot be written.
  explicit RunLease(std::filesystem::path folder, std::chrono::milliseconds patience = {}, LeaseTimes times = {});
  /// Gives it back.
  ~RunLease();
  RunLease(const RunLease&) = delete;
  RunLease& operator=(const RunLease&) = delete;

  static std::filesystem::path file_in(const std::filesystem::path& folder) { return folder / "lease.json"; }
  const std::string& id() const { return holder_.id; }

  /// Throws CheckpointError when the folder was taken over because this process had stood still for too long: it must
  /// not write there any more.
  void require();
  /// Whether it would.
  bool lost();

 private:
  std::optional<LeaseState> try_to_take() const;
  void beat();
  void keep(const std::stop_token& stop);

  const std::filesystem::path file_;
  const LeaseHolder holder_;
  const LeaseTimes times_;
  std::mutex mutex_;  // of what follows
  std::condition_variable_any stopped_;
  bool lost_ = false;
  std::chrono::steady_clock::time_point beaten_;
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace lmnet
