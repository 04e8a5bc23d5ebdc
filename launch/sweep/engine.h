#pragma once
#include <functional>
#include <string>
#include <vector>

#include "launch/sweep/launcher.h"
#include "launch/sweep/sweep_folder.h"

namespace lmnet::sweep {

/// Which runs are to be started, which are over, and why: the course of a sweep without its clock, terminal and
/// signals.
class Engine {
 public:
  /// Where the runs stand: what their own folders say of `done`, and of the rest the records of the sweep's last call.
  /// One that was running then was interrupted and goes on; one that failed stays so unless `retry`.
  Engine(const SweepFolder& folder, std::vector<PlannedRun> runs, Launcher& launcher, bool retry);

  /// Takes note of what has ended and starts what there is room for. Returns the names of the runs whose state changed.
  std::vector<std::string> step();
  /// No more runs are started.
  void stop() { stopping_ = true; }

  /// Whether a run is at work.
  bool busy() const { return count(Record::State::running) > 0; }
  /// Whether nothing is left that this call can do.
  bool over() const;

  const std::vector<PlannedRun>& runs() const { return runs_; }
  const Records& records() const { return records_; }
  size_t count(Record::State state) const;
  /// Of a waiting run: the one that it needs and which failed; empty if it is only its turn that has not come.
  std::string blocked_by(const PlannedRun& run) const;

 private:
  void end(const Ended& ended);
  bool startable(const PlannedRun& run) const;

  const SweepFolder& folder_;
  std::vector<PlannedRun> runs_;
  Launcher& launcher_;
  Records records_;
  bool stopping_ = false;
};

/// Whether a run has come to the end of its training as the sweep plans it now: its folder says done, and that nothing
/// was added to its training since.
bool is_done(const SweepFolder& folder, const std::string& run);

}  // namespace lmnet::sweep
