#include "launch/slurm/queue.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "launch/sweep/process.h"
#include "model/graph/errors.h"

namespace lmnet::slurm {
namespace {

/// Without what surrounds it.
std::string trimmed(const std::string& text) {
  const auto begin = text.find_first_not_of(" \n");
  return begin == text.npos ? "" : text.substr(begin, text.find_last_not_of(" \n") - begin + 1);
}

bool is_number(const std::string& text) {
  return !text.empty() && std::ranges::all_of(text, [](unsigned char c) { return std::isdigit(c) != 0; });
}

/// What a command of Slurm prints. Throws ConfigError where it fails.
std::string ask(const std::vector<std::string>& words) {
  const auto [code, text] = sweep::output_of(words);
  if (code == 127 && text.empty())
    throw ConfigError(fmt::format("there is no {} here: this is for a cluster with Slurm", words.front()));
  if (code != 0) throw ConfigError(fmt::format("{}: {}", words.front(), trimmed(text)));
  return trimmed(text);
}

}  // namespace

std::optional<QueuedJob> find_job(const std::string& job) {
  if (!is_number(job)) return std::nullopt;
  const auto [code, text] =
      sweep::output_of({"squeue", "--noheader", "--states=all", "--jobs=" + job, "--format=%T %R"});
  const std::string line = trimmed(text.substr(0, text.find('\n')));
  const size_t space = line.find(' ');
  const bool forgotten = text.find("Invalid job id") != text.npos || (code == 127 && text.empty());
  if (code != 0 && !forgotten) return QueuedJob{"UNKNOWN", line};
  if (code != 0 || space == line.npos) return std::nullopt;
  const QueuedJob found{line.substr(0, space), trimmed(line.substr(space))};
  // The queue remembers for a while what is over.
  constexpr std::array over = {"COMPLETED", "CANCELLED", "FAILED",        "TIMEOUT", "NODE_FAIL",
                               "PREEMPTED", "BOOT_FAIL", "OUT_OF_MEMORY", "DEADLINE"};
  return std::ranges::find(over, found.state) == over.end() ? std::optional(found) : std::nullopt;
}

void require_slurm(const std::string& way_out) {
  if (sweep::output_of({"sbatch", "--version"}).first != 0)
    throw ConfigError(fmt::format("there is no Slurm here (sbatch cannot be run): {}", way_out));
}

std::string submit_script(const std::vector<std::string>& words) {
  std::vector<std::string> command = {"sbatch", "--parsable"};
  command.insert(command.end(), words.begin(), words.end());
  return job_number(ask(command));
}

std::string job_number(const std::string& said) {
  const std::string text = trimmed(said);
  std::string job = text.substr(text.rfind('\n') + 1);
  job = job.substr(0, job.find(';'));  // `17` or `17;cluster`
  if (!is_number(job)) throw ConfigError(fmt::format("sbatch gives no number of a job: {}", text));
  return job;
}

void cancel_job(const std::string& job) {
  ask({"scancel", job});
}

}  // namespace lmnet::slurm
