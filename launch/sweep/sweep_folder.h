#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "launch/sweep/check.h"
#include "trainer/run/folder.h"

namespace lmnet::sweep {

/// What a sweep remembers of one of its runs.
struct Record {
  enum class State { waiting, running, stopped, failed, done };
  State state = State::waiting;
  int attempts = 0;
  int code = 0;        // of the last end
  std::string reason;  // why it failed or stopped
  std::string job;     // of a queue, `123_4`; empty without one
  bool operator==(const Record&) const = default;
};
std::string_view to_string(Record::State state);

/// By the name of the run.
using Records = std::map<std::string, Record>;

/// A run of a sweep as it stands in the sweep's folder, without its config file.
struct PlannedRun {
  std::string name, group;
  std::vector<std::pair<std::string, std::string>> labels;
  std::string seed;  // empty: seeds do not vary
  std::vector<Cell::Need> needs;
  int64_t ranks = 1;
  bool prepares = false;
  Facts facts;
};

/// `runs/NAME/` of a sweep: a run folder for each run, and in `sweep/` what the sweep itself keeps: cells.json,
/// state.json, configs/RUN.yaml, logs/RUN.log, lock. What cannot be written throws CheckpointError.
class SweepFolder {
 public:
  explicit SweepFolder(std::filesystem::path folder) : folder_(std::move(folder)) {}

  const std::filesystem::path& path() const { return folder_; }
  std::filesystem::path own() const { return RunFolder(folder_).sweep(); }
  /// Throws ConfigError where the folder is a run's; `where`: the sweep's file.
  void require_no_run(const std::string& where) const;
  std::filesystem::path run(const std::string& name) const { return folder_ / name; }
  std::filesystem::path config(const std::string& name) const { return own() / "configs" / (name + ".yaml"); }
  std::filesystem::path log(const std::string& name) const { return own() / "logs" / (name + ".log"); }
  std::filesystem::path lock() const { return own() / "lock"; }

  /// Makes the folders that the lock and logs lie in.
  void make() const;

  /// Writes the runs and the config of each: what is started does not change with the files it was made from.
  void write_plan(const std::vector<CheckedCell>& cells) const;
  /// Throws ConfigError where no sweep was started yet.
  std::vector<PlannedRun> plan() const;

  void write(const Records& records) const;
  Records records() const;

 private:
  std::filesystem::path folder_;
};

/// The part of a checked cell that the folder keeps.
PlannedRun planned(const CheckedCell& checked);

}  // namespace lmnet::sweep
