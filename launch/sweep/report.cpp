#include "launch/sweep/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>

#include "launch/sweep/run_view.h"
#include "launch/sweep/status_table.h"
#include "trainer/bench/measuring.h"
#include "trainer/checkpoint/file_io.h"

namespace lmnet::sweep {
namespace {

using Json = nlohmann::json;

/// Compute of the first `updates` updates.
double flop_at(const Facts& facts, double updates) {
  double flop = 0;
  for (const Facts::Stage& stage : facts.stages) {
    const double here = std::clamp(updates, 0.0, static_cast<double>(stage.updates));
    flop += here * static_cast<double>(facts.tokens_per_update) * stage.flops_per_token;
    updates -= here;
  }
  return flop;
}

Point point_at(const Facts& facts, double updates, double loss, const Point& before) {
  return {before.tokens + updates * static_cast<double>(facts.tokens_per_update), before.flop + flop_at(facts, updates),
          loss};
}

/// Losses of single updates jump: means over the last few of them tell more.
void smooth(std::vector<Point>& points) {
  constexpr size_t kWindow = 10;
  std::vector<double> losses;
  for (Point& point : points) {
    losses.push_back(point.loss);
    const size_t count = std::min(kWindow, losses.size());
    point.loss = std::accumulate(losses.end() - static_cast<std::ptrdiff_t>(count), losses.end(), 0.0) /
                 static_cast<double>(count);
  }
}

/// The furthest that all runs have come.
double common(const std::vector<FinishedRun>& runs, double Point::*axis) {
  double least = std::numeric_limits<double>::infinity();
  for (const FinishedRun& run : runs)
    if (!run.points.empty()) least = std::min(least, run.points.back().*axis);
  return std::isfinite(least) ? least : 0;
}

Group& group_of(std::vector<Group>& groups, const PlannedRun& run) {
  const auto found = std::ranges::find(groups, run.group, &Group::name);
  if (found != groups.end()) return *found;
  Group& group = groups.emplace_back();
  group.name = run.group;
  group.labels = run.labels;
  group.parameters = run.facts.parameters;
  group.trainable = run.facts.trainable;
  return group;
}

void summarize(Group& group, const Report& report) {
  std::vector<double> last, tokens, flop, speed;
  for (const FinishedRun& run : group.runs) {
    if (run.points.empty()) continue;
    group.tokens = run.points.back().tokens;
    group.flop = run.points.back().flop;
    last.push_back(run.points.back().loss);
    speed.push_back(run.tokens_per_s);
    if (const auto loss = loss_at(run.points, &Point::tokens, report.tokens)) tokens.push_back(*loss);
    if (const auto loss = loss_at(run.points, &Point::flop, report.flop)) flop.push_back(*loss);
  }
  group.loss = statistic_of(last);
  group.at_tokens = statistic_of(tokens);
  group.at_flop = statistic_of(flop);
  group.tokens_per_s = statistic_of(speed);
}

}  // namespace

Statistic statistic_of(const std::vector<double>& values) {
  Statistic result;
  result.count = values.size();
  if (values.empty()) return result;
  const auto count = static_cast<double>(values.size());
  result.mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
  double squares = 0;
  for (double value : values) squares += (value - result.mean) * (value - result.mean);
  if (values.size() > 1) result.spread = std::sqrt(squares / (count - 1));
  return result;
}

std::optional<double> loss_at(const std::vector<Point>& points, double Point::*axis, double value) {
  for (size_t i = 0; i < points.size(); ++i) {
    const double here = points[i].*axis;
    if (here < value * (1 - 1e-9)) continue;
    if (here <= value * (1 + 1e-9)) return points[i].loss;
    if (i == 0) return std::nullopt;
    const double before = points[i - 1].*axis, share = (value - before) / (here - before);
    return points[i - 1].loss + share * (points[i].loss - points[i - 1].loss);
  }
  return std::nullopt;
}

Point cost_of(const Facts& facts) {
  double updates = 0;
  for (const Facts::Stage& stage : facts.stages) updates += static_cast<double>(stage.updates);
  return point_at(facts, updates, 0, {});
}

FinishedRun read_curve(const PlannedRun& run, const std::string& metrics, const Point& before) {
  FinishedRun result{run, {}, false, 0};
  std::vector<Point> trained, validated;
  std::vector<double> speeds;
  std::istringstream lines(metrics);
  for (std::string line; std::getline(lines, line);) {
    const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object() || !json.contains("update")) continue;
    const auto number = [&](const char* key) -> std::optional<double> {
      const auto found = json.find(key);
      return found != json.end() && found->is_number() ? std::optional(found->get<double>()) : std::nullopt;
    };
    const double updates = *number("update");
    if (const auto loss = number("loss")) trained.push_back(point_at(run.facts, updates, *loss, before));
    if (const auto loss = number("validation_loss")) validated.push_back(point_at(run.facts, updates, *loss, before));
    if (const auto speed = number("tokens_per_s")) speeds.push_back(*speed);
  }
  smooth(trained);
  result.validated = !validated.empty();
  result.points = result.validated ? validated : trained;
  if (!speeds.empty()) result.tokens_per_s = median(speeds);
  return result;
}

Report make_report(const std::string& name, std::vector<FinishedRun> runs) {
  Report report;
  report.name = name;
  report.validated = !runs.empty() && std::ranges::all_of(runs, &FinishedRun::validated);
  report.tokens = common(runs, &Point::tokens);
  report.flop = common(runs, &Point::flop);
  for (FinishedRun& run : runs) group_of(report.groups, run.run).runs.push_back(std::move(run));
  for (Group& group : report.groups) summarize(group, report);
  return report;
}

Report read_report(const SweepFolder& folder, const Records& records) {
  const std::vector<PlannedRun> plan = folder.plan();
  std::vector<FinishedRun> finished;
  std::vector<std::string> missing;
  size_t cells = 0;
  for (const PlannedRun& run : plan) {
    if (run.prepares) continue;
    ++cells;
    const RunView view = view_of(folder, run, records.at(run.name));
    if (view.record.state != Record::State::done) {
      missing.push_back(fmt::format("{}: {}", run.name, outcome(view)));
      continue;
    }
    Point before;
    for (const Cell::Need& need : run.needs) {
      if (need.key != "model.backbone") continue;  // a first stage is one of the run's own
      const Point cost = cost_of(std::ranges::find(plan, need.run, &PlannedRun::name)->facts);
      before.tokens += cost.tokens;
      before.flop += cost.flop;
    }
    finished.push_back(read_curve(run, read_text(folder.run(run.name) / "metrics.jsonl"), before));
  }
  const size_t done = finished.size();
  Report report = make_report(folder.path().filename().string(), std::move(finished));
  report.cells = cells;
  report.done = done;
  report.missing = std::move(missing);
  return report;
}

}  // namespace lmnet::sweep
