#include "launch/slurm/submit.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <regex>
#include <sstream>

#include "launch/slurm/queue.h"
#include "launch/sweep/process.h"
#include "model/graph/errors.h"
#include "trainer/build_id.h"
#include "trainer/checkpoint/file_io.h"
#include "trainer/config/config.h"
#include "trainer/run/check.h"
#include "trainer/run/folder.h"
#include "trainer/run/lease.h"

namespace lmnet::slurm {

namespace fs = std::filesystem;

namespace {

int ranks_per_node(const SubmitOptions& options) {
  if (options.ranks_per_node > 0) return options.ranks_per_node;
  return std::max(1, options.gpus_per_node);
}

/// The `#SBATCH --NAME=VALUE` and `name=value` lines of a script.
class ScriptLines {
 public:
  explicit ScriptLines(const std::string& text) {
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) lines_.push_back(line);
  }

  /// In the place of the line that has it, also of one that is commented out, or behind the last one.
  void set_directive(const std::string& name, const std::string& value) {
    const bool words = value.find(' ') != value.npos;
    const std::string right = words ? "\"" + value + "\"" : value;
    const std::string line = fmt::format("#SBATCH --{}{}{}", name, value.empty() ? "" : "=", right);
    const auto is = [&](const std::string& other) {
      return other.starts_with(fmt::format("#SBATCH --{}=", name)) ||
             other.starts_with(fmt::format("##SBATCH --{}=", name));
    };
    auto found = std::ranges::find_if(lines_, is);
    if (found != lines_.end()) {
      *found = line;
      return;
    }
    const auto last = std::find_if(lines_.rbegin(), lines_.rend(),
                                   [](const std::string& other) { return other.starts_with("#SBATCH "); });
    lines_.insert(last.base(), line);
  }
  void set_variable(const std::string& name, const std::string& value) {
    const auto is = [&](const std::string& line) { return line.starts_with(name + "="); };
    const auto found = std::ranges::find_if(lines_, is);
    if (found == lines_.end()) throw ConfigError(fmt::format("launch/slurm/train.sbatch has no line {}=…", name));
    *found = fmt::format("{}={}", name, sweep::quoted(value));
  }
  std::string text() const { return fmt::format("{}\n", fmt::join(lines_, "\n")); }

 private:
  std::vector<std::string> lines_;
};

/// Refuses what would be refused when the job has waited for its turn.
void check(const SubmitOptions& options, const Config& config) {
  check_run(config, options.nodes * ranks_per_node(options));
  const RunFolder folder(config.run.folder());
  if (config.run.resume == "never")
    throw ConfigError(
        fmt::format("{}: run.resume is never, but a job that comes back goes on with its run; let it be "
                    "auto",
                    config.where));
  folder.require_no_sweep(config.where);
  if (folder.exists()) folder.compare(config);
  const LeaseState lease = look_at_lease(folder.path());
  if (lease.kind == LeaseState::Kind::held)
    throw ConfigError(fmt::format("{} is the run of process {} on {}, which is going on; stop it with lmnet stop {}",
                                  folder.path().string(), lease.holder.pid, lease.holder.host, folder.path().string()));
  const std::string job = SubmittedRun(folder.path()).job();
  if (const auto queued = find_job(job))
    throw ConfigError(fmt::format("{} is already in the queue as job {} ({}, {}); take it out with lmnet stop {}",
                                  folder.path().string(), job, queued->state, queued->reason, folder.path().string()));
}

}  // namespace

std::string SubmittedRun::job() const {
  if (!path_exists(job_file())) return "";
  const std::string text = read_text(job_file());
  return text.substr(0, text.find('\n'));
}

std::string slurm_time(const std::string& text) {
  static const std::regex own("([0-9]+(?:\\.[0-9]+)?)([smhd])");
  static const std::regex slurms("[0-9]+(-[0-9]+)?(:[0-9]+){0,2}");
  std::smatch match;
  if (std::regex_match(text, match, own)) {
    const double factor = match[2] == "s" ? 1.0 / 60 : match[2] == "m" ? 1 : match[2] == "h" ? 60 : 24 * 60;
    const auto minutes = static_cast<int64_t>(std::ceil(std::stod(match[1]) * factor));
    const std::string days = minutes >= 24 * 60 ? fmt::format("{}-", minutes / (24 * 60)) : "";
    return fmt::format("{}{:02}:{:02}:00", days, minutes / 60 % 24, minutes % 60);
  }
  if (std::regex_match(text, slurms)) return text;
  throw ConfigError(fmt::format("--time: {} is no time; give 90m, 24h, 2d or Slurm's own 1-12:00:00", text));
}

std::string filled_in_script(const std::string& script, const SubmitOptions& options, const SubmittedRun& run) {
  ScriptLines lines(script);
  lines.set_directive("job-name", run.folder.parent_path().filename().string());
  lines.set_directive("nodes", std::to_string(options.nodes));
  lines.set_directive("ntasks-per-node", std::to_string(ranks_per_node(options)));
  if (options.gpus_per_node > 0) lines.set_directive("gpus-per-node", std::to_string(options.gpus_per_node));
  if (options.cpus_per_rank > 0) lines.set_directive("cpus-per-task", std::to_string(options.cpus_per_rank));
  if (!options.time.empty()) lines.set_directive("time", slurm_time(options.time));
  lines.set_directive("chdir", fs::current_path().string());
  lines.set_directive("output", (run.folder / "job-%j.out").string());
  for (const std::string& option : options.sbatch) {
    if (!option.starts_with("--"))
      throw ConfigError(fmt::format("--sbatch: {} is not of the form --option=value or --option", option));
    const size_t equals = std::min(option.find('='), option.size());
    lines.set_directive(option.substr(2, equals - 2), option.substr(std::min(equals + 1, option.size())));
  }
  lines.set_variable("lmnet", sweep::own_program().string());
  lines.set_variable("config", run.config().string());
  lines.set_variable("launcher", options.launcher);
  lines.set_variable("launch", sweep::launch_script("mpirun").parent_path().string());
  return lines.text();
}

int submit(const SubmitOptions& options) {
  const Config config = load_config(options.config, options.overrides);
  check(options, config);
  const SubmittedRun run(config.run.folder());
  const std::string script = filled_in_script(read_text(sweep::launch_script("slurm/train.sbatch")), options, run);
  if (options.dry_run) {
    fmt::print("{}", script);
    return 0;
  }
  require_slurm(
      "submit where jobs are submitted, or train without it: launch/mpirun -np N lmnet train …; --dry-run prints the "
      "job's script");
  std::error_code error;
  fs::create_directories(run.folder, error);
  if (error) throw_file_error("write", run.folder, error.value());
  write_text(run.config(), to_yaml(config));
  write_text(run.version(), fmt::format("lmnet {}\n{}\n", build_id(), sweep::own_program().string()));
  write_text(run.script(), script);
  const std::string job = submit_script({run.script().string()});
  write_text(run.job_file(), job + "\n");
  fmt::print("{}\n", job);
  fmt::print(stderr,
             "job {} is in the queue: `lmnet status {}` tells how far it is, `lmnet stop {}` saves and ends it\n", job,
             config.run.folder().string(), config.run.folder().string());
  return 0;
}

}  // namespace lmnet::slurm
