#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace lmnet::slurm {

struct SubmitOptions {
  std::string config;
  std::vector<std::string> overrides;
  int nodes = 1;
  int gpus_per_node = 0;   // 0 = none; else also the ranks of a node
  int ranks_per_node = 0;  // 0 = as many as GPUs, or one
  int cpus_per_rank = 0;   // 0 = Slurm's default
  std::string time;        // `24h`, `90m` or as Slurm writes it; empty: the script's
  std::string launcher = "srun";
  std::vector<std::string> sbatch;  // further options for sbatch, such as --partition=gpu
  bool dry_run = false;
};

/// What `lmnet submit` keeps in a run's folder.
struct SubmittedRun {
  explicit SubmittedRun(const std::filesystem::path& run) : folder(run / "slurm") {}
  std::filesystem::path script() const { return folder / "train.sbatch"; }
  std::filesystem::path config() const { return folder / "config.yaml"; }
  std::filesystem::path version() const { return folder / "version.txt"; }
  std::filesystem::path job_file() const { return folder / "job"; }
  /// The number of the job that was submitted last; empty without one.
  std::string job() const;

  std::filesystem::path folder;
};

/// launch/slurm/train.sbatch with these options filled in, for a run in this folder.
std::string filled_in_script(const std::string& script, const SubmitOptions& options, const SubmittedRun& run);

/// `1-12:00:00` for `36h`: minutes are the least that Slurm counts. Throws ConfigError for what is no time.
std::string slurm_time(const std::string& text);

/// Checks the config for so many ranks, writes script, config and version of the program into the run folder, submits
/// and prints the job's number. Throws ConfigError for what can be refused, and for a run that is going on.
int submit(const SubmitOptions& options);

}  // namespace lmnet::slurm
