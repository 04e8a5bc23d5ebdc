#pragma once
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "trainer/config/config.h"

namespace lmnet {

/// `runs/NAME/`, kept by rank 0: config.yaml, plan.txt, status.json, metrics.jsonl,
/// tensorboard/, logs/, checkpoints/.
/// What cannot be written throws CheckpointError.
class RunFolder {
 public:
  explicit RunFolder(std::filesystem::path folder) : folder_(std::move(folder)) {}

  const std::filesystem::path& path() const { return folder_; }
  std::filesystem::path tensorboard() const { return folder_ / "tensorboard"; }
  std::filesystem::path checkpoints() const { return folder_ / "checkpoints"; }
  std::filesystem::path log(int rank) const;
  bool exists() const { return std::filesystem::exists(folder_ / "config.yaml"); }
  /// Where `lmnet sweep` keeps what it knows, in a folder that is a sweep's.
  std::filesystem::path sweep() const { return folder_ / "sweep"; }
  /// Throws ConfigError where the folder is a sweep's; `where`: the config's file.
  void require_no_sweep(const std::string& where) const;

  /// What the config of the run that lies here forbids to change. Throws ConfigError that lists it; returns what
  /// changes lawfully, a line each.
  std::vector<std::string> compare(const Config& config) const;

  /// Makes the folder itself, empty.
  void create() const;
  /// Writes the effective config and the plan. Notes where it is in the file that the environment
  /// variable LMNET_JOB names, for launch/mpirun: what ended a rank that was killed stands in no rank's power to tell.
  void open(const Config& config, const std::string& plan) const;

  /// Renames checkpoints of later updates than `update`, which were passed over as damaged, to `damaged-step-…`, so
  /// that nothing counts them any more.
  void set_damaged_aside(int64_t update) const;

  /// Drops the metrics of updates after `update`, so that each update stands there once after a resume.
  void cut_metrics(int64_t update) const;
  /// Appends whole lines, or nothing.
  void add_metrics(const std::string& lines) const;

  struct Status {
    std::string state;  // starting, running, stopped, done, failed
    std::string reason;
    int code = 0;
    int64_t update = 0;
    int restart = 0;              // how often the run was started before
    std::string last_error = "";  // what ended an earlier start, or this one; not why one was refused
  };
  void set_status(const Status& status) const;
  /// What ended the start of a run that left such a status, or the last one before it that failed; empty for none. One
  /// that was refused, before it began, ended nothing.
  static std::string error_of(const Status& status);
  /// What status.json tells; nothing and 0 without one.
  Status status() const;

 private:
  std::filesystem::path folder_;
};

}  // namespace lmnet
