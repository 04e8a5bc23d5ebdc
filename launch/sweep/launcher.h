#pragma once
#include <memory>
#include <string>
#include <vector>

#include "launch/sweep/sweep_folder.h"

namespace lmnet::sweep {

/// A run that came to its end.
struct Ended {
  std::string name;
  int code = 0;
  std::string reason;    // empty: its folder and log tell
  bool stopped = false;  // from outside: it did not fail, and goes on the next time
};

/// Where the runs of a sweep are started.
class Launcher {
 public:
  virtual ~Launcher() = default;

  /// How many runs may be started now.
  virtual size_t room() const = 0;
  /// Starts these runs, at most room(), and notes in the records how they are found again.
  virtual void start(const std::vector<const PlannedRun*>& runs, Records& records) = 0;
  /// Takes over a run that was started by a sweep which is no more; false: it is not to be found.
  virtual bool find_again(const std::string& name, const Record& record) = 0;
  /// The runs that have ended since the last call.
  virtual std::vector<Ended> poll() = 0;
  /// Asks all runs to save and stop. false: they go on without this process.
  virtual bool stop() = 0;
};

/// Starts runs on this machine, or through launch/mpirun on hosts.
struct LocalOptions {
  size_t jobs = 1;              // runs at a time
  bool through_mpirun = false;  // also of one rank; with mpirun's own options
  std::string mpirun;           // options for launch/mpirun, as a shell takes them
  int lock = -1;                // the file that runs keep open
};
std::unique_ptr<Launcher> local_launcher(const SweepFolder& folder, const LocalOptions& options);

/// The processors that each rank of `jobs` runs computes with when they share a machine of `processors`.
int threads_of_rank(int processors, size_t jobs, int64_t ranks);

/// The devices of slot `slot` where each of `jobs` runs has `ranks` ranks, as CUDA_VISIBLE_DEVICES names them; empty
/// where there are not enough for all.
std::string devices_of_slot(const std::vector<std::string>& devices, size_t jobs, int64_t ranks, size_t slot);

}  // namespace lmnet::sweep
