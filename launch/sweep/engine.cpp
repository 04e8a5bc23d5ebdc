#include "launch/sweep/engine.h"

#include <algorithm>

#include "launch/sweep/run_view.h"
#include "trainer/run/folder.h"

namespace lmnet::sweep {

using State = Record::State;

Engine::Engine(const SweepFolder& folder, std::vector<PlannedRun> runs, Launcher& launcher, bool retry)
    : folder_(folder), runs_(std::move(runs)), launcher_(launcher) {
  const Records before = folder_.records();
  for (const PlannedRun& run : runs_) {
    const auto found = before.find(run.name);
    Record& record = records_[run.name] = found == before.end() ? Record{} : found->second;
    if (is_done(folder_, run.name)) {
      record.state = State::done;
    } else if (record.state == State::running && launcher_.find_again(run.name, record)) {
      continue;
    } else if (record.state != State::failed || retry) {
      record.state = State::waiting;
    }
  }
  folder_.write(records_);
}

std::vector<std::string> Engine::step() {
  std::vector<std::string> changed;
  for (const Ended& ended : launcher_.poll()) {
    end(ended);
    changed.push_back(ended.name);
  }
  std::vector<const PlannedRun*> starting;
  for (const PlannedRun& run : runs_) {
    if (stopping_ || starting.size() >= launcher_.room()) break;
    if (startable(run)) starting.push_back(&run);
  }
  for (const PlannedRun* run : starting) {
    Record& record = records_.at(run->name);
    record = {State::running, record.attempts + 1, 0, "", ""};
    changed.push_back(run->name);
  }
  // Written first: a run that is started and not noted would be started twice.
  if (!changed.empty()) folder_.write(records_);
  if (!starting.empty()) {
    launcher_.start(starting, records_);
    folder_.write(records_);
  }
  return changed;
}

void Engine::end(const Ended& ended) {
  Record& record = records_.at(ended.name);
  record.code = ended.code;
  record.reason.clear();
  if (is_done(folder_, ended.name)) {
    record.state = State::done;
    return;
  }
  const bool stopped = ended.stopped || RunFolder(folder_.run(ended.name)).status().state == "stopped";
  record.state = stopped ? State::stopped : State::failed;
  record.reason = ended.reason.empty() ? reason_of(folder_, ended.name, ended.code) : ended.reason;
}

bool Engine::startable(const PlannedRun& run) const {
  const auto is = [&](const std::string& name, State state) { return records_.at(name).state == state; };
  if (!is(run.name, State::waiting)) return false;
  return std::ranges::all_of(run.needs, [&](const Cell::Need& need) { return is(need.run, State::done); });
}

std::string Engine::blocked_by(const PlannedRun& run) const {
  for (const Cell::Need& need : run.needs) {
    const State state = records_.at(need.run).state;
    if (state == State::failed || state == State::stopped) return need.run;
  }
  return "";
}

bool Engine::over() const {
  if (busy()) return false;
  return stopping_ || std::ranges::none_of(runs_, [&](const PlannedRun& run) { return startable(run); });
}

size_t Engine::count(State state) const {
  return static_cast<size_t>(
      std::ranges::count_if(records_, [&](const auto& record) { return record.second.state == state; }));
}

bool is_done(const SweepFolder& folder, const std::string& run) {
  const RunFolder run_folder(folder.run(run));
  if (!run_folder.exists() || run_folder.status().state != "done") return false;
  const Config saved = load_config(folder.run(run) / "config.yaml"), now = load_config(folder.config(run));
  const auto differences = compare_on_resume(saved, now);
  return std::ranges::none_of(differences, [](const ConfigDifference& difference) {
    return difference.key.starts_with("train.") && difference.key != "train.micro_batch";
  });
}

}  // namespace lmnet::sweep
