#include "launch/sweep/run_view.h"

#include <fmt/format.h>

#include <sstream>
#include <string_view>

#include "launch/run_metrics.h"
#include "trainer/run/folder.h"

namespace lmnet::sweep {

RunView view_of(const SweepFolder& folder, const PlannedRun& run, const Record& record) {
  RunView view;
  view.name = run.name;
  view.record = record;
  for (const Facts::Stage& stage : run.facts.stages) view.updates += stage.updates;
  const RunMetrics metrics = newest_metrics(folder.run(run.name));
  view.update = metrics.update;
  view.loss = metrics.loss;
  view.validation_loss = metrics.validation_loss;
  view.tokens_per_s = metrics.tokens_per_s;
  if (record.state == Record::State::running) view.seconds_left = metrics.seconds_left(view.updates);
  return view;
}

std::string reason_of(const SweepFolder& folder, const std::string& run, int code) {
  const RunFolder::Status status = RunFolder(folder.run(run)).status();
  if ((status.state == "failed" || status.state == "stopped") && !status.reason.empty()) return status.reason;
  std::string said;
  std::istringstream lines(tail_of(folder.log(run)));
  for (std::string line; std::getline(lines, line);)
    for (const std::string_view who : {"lmnet: ", "launch/mpirun: "})
      if (line.starts_with(who)) said = line.substr(who.size());
  if (!said.empty()) return said;
  return code > 128 ? fmt::format("ended by signal {}", code - 128) : fmt::format("ended with code {}", code);
}

}  // namespace lmnet::sweep
