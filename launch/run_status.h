#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace lmnet {

/// What a run folder, and Slurm where the run was submitted to it, tell of a run.
struct RunStatus {
  std::filesystem::path folder;
  /// As status.json has it; `dead` for one that says it is starting or running, but whose process is gone, and
  /// `waiting` for one that only the queue knows.
  std::string state;
  std::string reason;  // why it stopped or failed
  std::string last_error;
  int code = 0, restart = 0;
  int64_t update = 0, updates = 0;  // made, and all
  std::optional<double> loss, validation_loss, tokens_per_s, seconds_left;
  std::optional<int64_t> checkpoint;          // the update of the newest complete one
  std::optional<int64_t> checkpoint_seconds;  // how old it is
  std::string holder;                         // of one that goes on: `process 12 on h1`
  std::string job, queue;                     // of Slurm: its number, and `RUNNING h[1-2]`
};

/// The runs that a folder stands for: itself, or those in it and in the sweeps in it, in the order of their names; also
/// itself where there is none.
std::vector<std::filesystem::path> runs_of(const std::filesystem::path& folder);

/// Throws ConfigError for a folder that is none of a run, CheckpointError for what cannot be read.
RunStatus status_of_run(const std::filesystem::path& folder);

/// Some lines for people; an object for programs.
std::string to_text(const RunStatus& status);
nlohmann::ordered_json to_json(const RunStatus& status);

/// Asks a run to save and stop, wherever it runs, and waits until it has (unless told not to); takes one that waits in
/// Slurm's queue out of it. Prints what became of it and returns 0.
int stop_run(const std::filesystem::path& folder, bool wait);

}  // namespace lmnet
