#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace lmnet::sweep {

/// `lmnet sweep FILE [key=value …] …`
struct SweepOptions {
  std::filesystem::path file;
  std::vector<std::string> overrides;  // for all runs
  std::string launcher = "local";      // local | mpirun | slurm
  int64_t jobs = 0;                    // runs at a time; 0: what the file says
  std::string mpirun;                  // for launcher mpirun: options of launch/mpirun
  std::string slurm;                   // for launcher slurm: options of sbatch
  bool retry = false;                  // start failed runs again
  bool dry_run = false, status = false, report = false;
};

/// Checks all runs of a sweep, then starts those that are not done, at most `jobs` at a time, until none is left that
/// can be started; or shows how far they are, or what came out. Returns the exit code: 0 when all are done, 1 when some
/// failed, 128 + signal after a stop. Throws ConfigError and CheckpointError.
int sweep(const SweepOptions& options);

}  // namespace lmnet::sweep
