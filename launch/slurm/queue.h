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

/// Nothing of a job that is over or unknown, and where there is no Slurm; UNKNOWN with what squeue says where that does
/// not answer.
std::optional<QueuedJob> find_job(const std::string& job);

/// The number of a job in what `sbatch --parsable` says, after what it may warn of. Throws ConfigError where there is
/// none.
std::string job_number(const std::string& said);

/// Throws ConfigError with the way out where no job can be submitted.
void require_slurm(const std::string& way_out);

/// Submits a script; returns the job's number. Throws ConfigError with what sbatch says.
std::string submit_script(const std::vector<std::string>& words);

/// Takes a job out of the queue. Throws ConfigError with what scancel says.
void cancel_job(const std::string& job);

}  // namespace lmnet::slurm
