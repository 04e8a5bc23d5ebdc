#include "launch/run_status.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <ctime>
#include <iterator>
#include <thread>

#include "launch/run_metrics.h"
#include "launch/slurm/queue.h"
#include "launch/slurm/submit.h"
#include "launch/sweep/status_table.h"
#include "model/graph/errors.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/checkpoint/file_io.h"
#include "trainer/config/config.h"
#include "trainer/describe.h"
#include "trainer/run/folder.h"
#include "trainer/run/lease.h"
#include "trainer/run/stop_wish.h"
#include "trainer/schedule.h"

namespace lmnet {
namespace {

namespace fs = std::filesystem;

int64_t updates_of(const Config& config) {
  int64_t updates = 0;
  for (const StageConfig& stage : config.train.stages)
    updates += Schedule(stage, config.train.global_batch * config.data.sequence_length).updates();
  return updates;
}

void look_for_checkpoint(const RunFolder& folder, RunStatus& status) {
  const auto checkpoints = list_checkpoints(folder.checkpoints());
  if (checkpoints.empty()) return;
  status.checkpoint = read_manifest(checkpoints.front() / "manifest.json").update;
  const auto written = fs::last_write_time(checkpoints.front() / "manifest.json");
  status.checkpoint_seconds =
      std::chrono::duration_cast<std::chrono::seconds>(fs::file_time_type::clock::now() - written).count();
}

bool goes_on(const std::string& state) {
  return state == "starting" || state == "running";
}

bool is_run(const fs::path& folder) {
  return RunFolder(folder).exists() || !slurm::SubmittedRun(folder).job().empty();
}

std::vector<fs::path> runs_below(const fs::path& folder, int levels) {
  std::vector<fs::path> children, runs;
  std::error_code error;
  for (fs::directory_iterator entry(folder, fs::directory_options::skip_permission_denied, error), end;
       !error && entry != end; entry.increment(error))
    if (entry->is_directory(error) && entry->path() != slurm::SubmittedRun(folder).folder)
      children.push_back(entry->path());
  std::ranges::sort(children);
  for (const fs::path& child : children) {
    if (is_run(child))
      runs.push_back(child);
    else if (levels > 1)
      std::ranges::move(runs_below(child, levels - 1), std::back_inserter(runs));
  }
  return runs;
}

}  // namespace

std::vector<fs::path> runs_of(const fs::path& folder) {
  constexpr int kLevels = 2;  // runs/NAME and runs/SWEEP/CELL
  std::vector<fs::path> runs;
  if (!is_run(folder)) runs = runs_below(folder, kLevels);
  if (runs.empty()) runs = {folder};
  return runs;
}

RunStatus status_of_run(const fs::path& path) {
  const RunFolder folder(path);
  const slurm::SubmittedRun submitted(path);
  RunStatus status;
  status.folder = path;
  status.job = submitted.job();
  if (const auto queued = slurm::find_job(status.job))
    status.queue = fmt::format("{} {}", queued->state, queued->reason);
  if (!folder.exists() && status.job.empty())
    throw ConfigError(fmt::format("{} is no run: {}", path.string(),
                                  fs::is_directory(path) ? "it has no config.yaml, and there is no run in it"
                                  : fs::exists(path)     ? "it is a file, give the run's folder"
                                                         : "there is no such folder"));
  const RunFolder::Status told = folder.status();
  status.state = told.state;
  status.reason = told.reason;
  status.last_error = told.last_error;
  status.code = told.code;
  status.restart = told.restart;
  status.update = told.update;
  if (folder.exists()) {
    status.updates = updates_of(load_config(path / "config.yaml"));
    const RunMetrics metrics = newest_metrics(path);
    status.update = std::max(status.update, metrics.update);
    status.loss = metrics.loss;
    status.validation_loss = metrics.validation_loss;
    status.tokens_per_s = metrics.tokens_per_s;
    status.seconds_left = metrics.seconds_left(status.updates);
    look_for_checkpoint(folder, status);
  }
  const LeaseState lease = look_at_lease(path);
  if (lease.kind == LeaseState::Kind::held)
    status.holder = fmt::format("process {} on {}", lease.holder.pid, lease.holder.host);
  if (goes_on(status.state) && status.holder.empty()) status.state = "dead";
  if (status.holder.empty() && status.queue.starts_with("PENDING")) status.state = "waiting";
  if (status.state.empty()) status.state = status.queue.empty() ? "unknown" : "waiting";
  if (status.state != "running") status.seconds_left.reset();
  return status;
}

std::string to_text(const RunStatus& status) {
  std::string text = fmt::format("{} · {}", status.folder.string(), status.state);
  if (status.updates > 0) text += fmt::format(" · update {}/{}", status.update, status.updates);
  if (status.loss) text += fmt::format(" · loss {:.4f}", *status.loss);
  if (status.validation_loss) text += fmt::format(" · validation loss {:.4f}", *status.validation_loss);
  if (status.tokens_per_s && status.state == "running") text += fmt::format(" · {:.0f} tok/s", *status.tokens_per_s);
  if (status.seconds_left) text += fmt::format(" · {} left", short_time(*status.seconds_left));
  if (status.restart > 0) text += fmt::format(" · restart {}", status.restart);
  text += "\n";
  const auto line = [&](const std::string& what) { text += "  " + what + "\n"; };
  if (!status.holder.empty()) line(status.holder);
  if (!status.job.empty())
    line(fmt::format("Slurm job {}: {}", status.job, status.queue.empty() ? "not in the queue" : status.queue));
  if (status.checkpoint)
    line(fmt::format("checkpoint of update {}, {} old", *status.checkpoint,
                     short_time(static_cast<double>(*status.checkpoint_seconds))));
  if (!status.reason.empty())
    line(status.code == 0 ? status.reason : fmt::format("{} (code {})", status.reason, status.code));
  if (!status.last_error.empty() && status.last_error != status.reason)
    line(fmt::format("last error: {}", status.last_error));
  if (status.state == "dead") line("it ended without a word; start it again and it goes on");
  return text;
}

nlohmann::ordered_json to_json(const RunStatus& status) {
  const auto number = [](const auto& value) {
    return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
  };
  return {{"run", status.folder.string()},
          {"state", status.state},
          {"reason", status.reason},
          {"code", status.code},
          {"update", status.update},
          {"updates", status.updates},
          {"loss", number(status.loss)},
          {"validation_loss", number(status.validation_loss)},
          {"tokens_per_s", number(status.tokens_per_s)},
          {"seconds_left", number(status.seconds_left)},
          {"checkpoint", number(status.checkpoint)},
          {"restart", status.restart},
          {"last_error", status.last_error},
          {"holder", status.holder},
          {"job", status.job},
          {"queue", status.queue}};
}

int stop_run(const fs::path& folder, bool wait) {
  RunStatus status = status_of_run(folder);
  if (status.holder.empty()) {
    if (!status.queue.empty()) {
      slurm::cancel_job(status.job);
      fmt::print("{}: job {} is out of the queue\n", folder.string(), status.job);
    } else {
      fmt::print("{} does not run: {} at update {}\n", folder.string(), status.state, status.update);
    }
    return 0;
  }
  write_text(StopWish::request_in(folder), "");
  fmt::print("asked {} ({}) to save and stop\n", folder.string(), status.holder);
  std::fflush(stdout);
  while (wait && look_at_lease(folder).kind == LeaseState::Kind::held)
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  if (!wait) return 0;
  status = status_of_run(folder);
  if (status.queue.starts_with("PENDING")) {  // a pre-emption was faster
    slurm::cancel_job(status.job);
    status = status_of_run(folder);
  }
  fmt::print("{}: {} at update {}\n", folder.string(), status.state, status.update);
  return 0;
}

}  // namespace lmnet
