#pragma once
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "launch/sweep/launcher.h"

namespace lmnet::sweep {

/// Puts runs into Slurm's queue, all that may start in one job array (one for each number of ranks), of which at most
/// `jobs` run at a time. They go on when the sweep ends; the next one finds them again by the job noted in the records.
struct SlurmOptions {
  size_t jobs = 1;
  std::string sbatch;  // further options for sbatch, as a shell takes them
};
/// Throws ConfigError where there is no Slurm.
std::unique_ptr<Launcher> slurm_launcher(const SweepFolder& folder, const SlurmOptions& options);

/// Which of these jobs (`123_4`) wait or run; nothing where Slurm does not answer.
std::optional<std::set<std::string>> jobs_in_queue(const std::set<std::string>& jobs);

/// What became of a job that has left the queue, of what `scontrol show job` prints.
struct JobEnd {
  int code = 0;
  bool taken_away = false;  // cancelled, or out of its time or its nodes
  std::string state;        // COMPLETED, FAILED, CANCELLED, …; empty when Slurm does not know the job any more
};
JobEnd job_end(const std::string& description);

}  // namespace lmnet::sweep
