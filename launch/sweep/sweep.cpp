#include "launch/sweep/sweep.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <csignal>
#include <limits>
#include <optional>
#include <set>
#include <thread>

#include "launch/sweep/check.h"
#include "launch/sweep/engine.h"
#include "launch/sweep/lock.h"
#include "launch/sweep/process.h"
#include "launch/sweep/report.h"
#include "launch/sweep/slurm_launcher.h"
#include "launch/sweep/status_table.h"
#include "model/graph/errors.h"
#include "trainer/checkpoint/file_io.h"
#include "trainer/clock.h"
#include "trainer/describe.h"
#include "trainer/run/signals.h"
#include "trainer/terminal.h"

namespace lmnet::sweep {
namespace {

namespace fs = std::filesystem;
using State = Record::State;

constexpr std::chrono::milliseconds kLook{100};
constexpr double kRedraw = 1;

std::vector<RunView> views_of(const SweepFolder& folder, const std::vector<PlannedRun>& runs, const Records& records) {
  std::vector<RunView> views;
  for (const PlannedRun& run : runs) {
    const auto record = records.find(run.name);
    views.push_back(view_of(folder, run, record == records.end() ? Record{} : record->second));
  }
  return views;
}

/// What people see of a sweep at work: a table that is drawn anew on a terminal, else a line for each run that ends.
class Display {
 public:
  Display(const SweepFolder& folder, const Engine& engine) : folder_(folder), engine_(engine) {
    if (terminal_) live_.emplace(*terminal_, style_);
  }

  void say(const std::string& text) {
    if (live_) {
      live_->print(text);
    } else {
      fmt::print("{}\n", text);
      std::fflush(stdout);
    }
  }

  void changed(const std::vector<std::string>& names) {
    for (const std::string& name : names) tell(name);
    if (live_ && (!names.empty() || seconds_since(drawn_) > kRedraw)) draw();
  }

 private:
  void tell(const std::string& name) {
    const auto run = std::ranges::find(engine_.runs(), name, &PlannedRun::name);
    const RunView view = view_of(folder_, *run, engine_.records().at(name));
    if (view.record.state == State::running) {
      if (!live_) say(fmt::format("{}: started", name));
      return;
    }
    say(fmt::format("[{}/{}] {}: {}", engine_.count(State::done), engine_.runs().size(), name, outcome(view)));
  }

  void draw() {
    const auto rows = static_cast<size_t>(terminal_->size().rows);
    live_->show(status_table(folder_.path().filename().string(), views_of(folder_, engine_.runs(), engine_.records()),
                             style_.colors, rows));
    drawn_ = Clock::now();
  }

  const SweepFolder& folder_;
  const Engine& engine_;
  std::optional<Terminal> terminal_ = Terminal::find();
  TextStyle style_ = TextStyle::of_environment();
  std::optional<LiveLines> live_;
  Clock::time_point drawn_;
};

/// Jobs of runs that the records call running.
std::set<std::string> noted_jobs(const Records& records) {
  std::set<std::string> jobs;
  for (const auto& [run, record] : records)
    if (record.state == State::running && !record.job.empty()) jobs.insert(record.job);
  return jobs;
}

/// The call that finds the same runs again.
std::vector<std::string> words_of(const SweepOptions& options) {
  std::vector<std::string> words = {"lmnet", "sweep", options.file.string()};
  words.insert(words.end(), options.overrides.begin(), options.overrides.end());
  const auto add = [&](const char* option, const std::string& value) { words.insert(words.end(), {option, value}); };
  if (options.launcher != "local") add("--launcher", options.launcher);
  if (options.jobs > 0) add("--jobs", std::to_string(options.jobs));
  if (!options.mpirun.empty()) add("--mpirun", options.mpirun);
  if (!options.slurm.empty()) add("--slurm", options.slurm);
  return words;
}

/// What is left when nothing can be started any more, and the way on.
int farewell(const Engine& engine, const SweepOptions& options) {
  const std::string again = shell_text(words_of(options));
  for (const PlannedRun& run : engine.runs())
    if (const std::string need = engine.blocked_by(run); !need.empty())
      fmt::print("{}: not started, it needs {}\n", run.name, need);
  const size_t failed = engine.count(State::failed), done = engine.count(State::done);
  if (failed > 0) {
    fmt::print("{} of {} runs failed; `{} --retry` starts them again\n", failed, engine.runs().size(), again);
    return 1;
  }
  if (done == engine.runs().size()) {
    fmt::print("done · {}; `{} --report` compares them\n", counted(static_cast<int64_t>(done), "run"), again);
    return 0;
  }
  fmt::print("{} of {} runs are done; `{}` goes on\n", done, engine.runs().size(), again);
  return 1;
}

/// Options of one launcher say nothing to another.
void require_own_options(const SweepOptions& options) {
  for (const auto& [launcher, words] : {std::pair("mpirun", options.mpirun), {"slurm", options.slurm}})
    if (!words.empty() && options.launcher != launcher)
      throw ConfigError(fmt::format("--{0} is for --launcher {0}, this is {1}", launcher, options.launcher));
}

/// What is in a queue must not be started beside it.
void require_empty_queue(const SweepFolder& folder) {
  const std::set<std::string> jobs = noted_jobs(folder.records());
  if (const auto queue = jobs.empty() ? std::nullopt : jobs_in_queue(jobs); queue && !queue->empty())
    throw ConfigError(fmt::format("Slurm's queue holds {} of {} ({}): go on with --launcher slurm, or scancel them",
                                  counted(std::ssize(*queue), "run"), folder.path().string(), fmt::join(*queue, ", ")));
}

int run_all(const SweepFolder& folder, const std::vector<CheckedCell>& cells, size_t jobs,
            const SweepOptions& options) {
  StopSignals signals({"INT", "TERM"});
  folder.make();
  const auto print = [](const std::string& text) { fmt::print("{}\n", text); };
  const Lock lock(folder.lock(), print, [&] { return signals.received() != 0; });
  folder.write_plan(cells);
  if (options.launcher != "slurm") require_empty_queue(folder);
  const std::unique_ptr<Launcher> launcher =
      options.launcher == "slurm"
          ? slurm_launcher(folder, {jobs, options.slurm})
          : local_launcher(folder, {jobs, options.launcher == "mpirun", options.mpirun, lock.descriptor()});
  std::vector<PlannedRun> runs;
  for (const CheckedCell& checked : cells) runs.push_back(planned(checked));
  Engine engine(folder, std::move(runs), *launcher, options.retry);
  int signal = 0;
  {
    Display display(folder, engine);
    while (!engine.over()) {
      display.changed(engine.step());
      if (signal == 0 && (signal = signals.received()) != 0) {
        engine.stop();
        if (!launcher->stop()) {
          display.say(fmt::format("{} left in the queue, scancel stops them; the same command finds them again",
                                  counted(static_cast<int64_t>(engine.count(State::running)), "run")));
          return 128 + signal;
        }
        display.say(fmt::format("{} asked to save and stop (Ctrl-C again does not wait for them)",
                                counted(static_cast<int64_t>(engine.count(State::running)), "run")));
      }
      std::this_thread::sleep_for(kLook);
    }
  }
  const int code = farewell(engine, options);
  return signal != 0 ? 128 + signal : code;
}

/// Which runs there are and that all can be made: `--dry-run`.
int describe(const SweepFile& file, const SweepFolder& folder, const std::vector<CheckedCell>& cells) {
  fmt::print("sweep {} · {} in {}\n", file.name, counted(std::ssize(cells), "run"), folder.path().string());
  size_t width = 0;
  for (const CheckedCell& checked : cells) width = std::max(width, checked.cell.name.size());
  for (const CheckedCell& checked : cells) {
    double flop = 0;
    int64_t updates = 0;
    for (const Facts::Stage& stage : checked.facts.stages) {
      updates += stage.updates;
      flop += static_cast<double>(stage.updates * checked.facts.tokens_per_update) * stage.flops_per_token;
    }
    std::string needs;
    for (const Cell::Need& need : checked.cell.needs) needs += fmt::format(" · after {}", need.run);
    fmt::print("  {:<{}}  {} · {} parameters, {} train · {}, {}{}\n", checked.cell.name, width,
               counted(checked.cell.ranks, "rank"), short_count(static_cast<double>(checked.facts.parameters)),
               short_count(static_cast<double>(checked.facts.trainable)), counted(updates, "update"),
               short_count(flop, "FLOP"), needs);
  }
  return 0;
}

/// Where the runs stand; nobody being at work, those that the records call running, and no queue has, were interrupted.
Records standing(const SweepFolder& folder, const std::vector<PlannedRun>& runs, bool at_work) {
  Records records = folder.records();
  const std::set<std::string> jobs = noted_jobs(records);
  const auto queue = jobs.empty() ? std::nullopt : jobs_in_queue(jobs);
  for (const PlannedRun& run : runs) {
    Record& record = records[run.name];
    const bool queued = !record.job.empty() && (!queue || queue->contains(record.job));
    if (is_done(folder, run.name)) {
      record.state = State::done;
      record.reason.clear();
    } else if (record.state == State::running && !queued && !at_work) {
      record.state = State::stopped;
      record.reason = "interrupted";
    }
  }
  return records;
}

/// A table of where the runs stand; on a terminal drawn anew until nothing is at work.
int show_status(const SweepFolder& folder) {
  const std::vector<PlannedRun> runs = folder.plan();
  const TextStyle style = TextStyle::of_environment();
  const auto terminal = Terminal::find();
  const auto at_work = [&] { return !Lock::holders(folder.lock()).empty(); };
  const auto table = [&](bool colors, size_t rows) {
    return status_table(folder.path().filename().string(), views_of(folder, runs, standing(folder, runs, at_work())),
                        colors, rows);
  };
  if (terminal && at_work()) {
    StopSignals signals({"INT", "TERM"});
    LiveLines live(*terminal, style);
    for (auto look = Clock::time_point(); signals.received() == 0; std::this_thread::sleep_for(kLook)) {
      if (seconds_since(look) < kRedraw) continue;
      if (!at_work()) break;
      live.show(table(style.colors, static_cast<size_t>(terminal->size().rows)));
      look = Clock::now();
    }
  }
  for (const std::string& line : table(terminal && style.colors, std::numeric_limits<size_t>::max()))
    fmt::print("{}\n", terminal && !style.unicode ? in_ascii(line) : line);
  return 0;
}

/// Compares what is done, on the standard output and in report.txt, .csv and .html of the sweep's folder.
int show_report(const SweepFolder& folder) {
  const Report report = read_report(folder, standing(folder, folder.plan(), /*at_work=*/true));
  const std::string text = to_text(report);
  write_text(folder.path() / "report.txt", text);
  write_text(folder.path() / "report.csv", to_csv(report));
  write_text(folder.path() / "report.html", to_html(report));
  fmt::print("{}written to {}.html, .csv and .txt\n", text, (folder.path() / "report").string());
  return 0;
}

}  // namespace

int sweep(const SweepOptions& options) {
  require_own_options(options);
  const SweepFile file = read_sweep(options.file);
  const SweepFolder folder(folder_of(file, options.overrides));
  if (options.status) return show_status(folder);
  if (options.report) return show_report(folder);
  folder.require_no_run(file.where);
  // Under Slurm the data need not be seen from here.
  const CheckOf what = options.dry_run || options.launcher == "slurm" ? CheckOf::configs : CheckOf::starts;
  const std::vector<CheckedCell> cells = check_cells(file, cells_of(file), options.overrides, what);
  if (options.dry_run) return describe(file, folder, cells);
  return run_all(folder, cells, static_cast<size_t>(options.jobs > 0 ? options.jobs : file.jobs), options);
}

}  // namespace lmnet::sweep
