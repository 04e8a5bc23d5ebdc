#pragma once
#include <optional>
#include <string>
#include <vector>

namespace lmnet::slurm {

/// What the queue says of a job.
struct QueuedJob {
  std::string state;   // PENDING, RUNNING, …
  std::string reason;  // why it waits, or where it runs
};

/// Nothing of a job that is over, and where there is no Slurm.
std::optional<QueuedJob> find_job(const std::string& job);

/// Submits a script; returns the job's number. Throws ConfigError with what sbatch says.
std::string submit_script(const std::vector<std::string>& words);

/// Takes a job out of the queue. Throws ConfigError with what scancel says.
void cancel_job(const std::string& job);

}  // namespace lmnet::slurm
