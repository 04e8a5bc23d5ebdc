#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "launch/sweep/sweep_folder.h"

namespace lmnet::sweep {

/// A loss of a run, after so many tokens and so much compute; what was prepared for the run is counted.
struct Point {
  double tokens = 0, flop = 0, loss = 0;
};

/// A run that is done.
struct FinishedRun {
  PlannedRun run;
  std::vector<Point> points;  // of the validations, or else of the updates (means over the last ten of them)
  bool validated = false;     // whether they are of validations
  double tokens_per_s = 0;    // median over its updates
};

/// Over the seeds of a group.
struct Statistic {
  double mean = 0, spread = 0;  // spread: standard deviation of a sample; 0 for one value
  size_t count = 0;
};
/// Of no value: count 0.
Statistic statistic_of(const std::vector<double>& values);

/// The cells that differ in their seed only.
struct Group {
  std::string name;
  std::vector<std::pair<std::string, std::string>> labels;
  int64_t parameters = 0, trainable = 0;
  double tokens = 0, flop = 0;  // of each cell, what was prepared included
  Statistic loss, at_tokens, at_flop, tokens_per_s;
  std::vector<FinishedRun> runs;
};

/// What came out of a sweep.
struct Report {
  std::string name;
  bool validated = false;  // whether losses are of validations in all runs
  double tokens = 0;       // which all runs have seen: what losses at equal tokens are taken at
  double flop = 0;         // the same of compute
  std::vector<Group> groups;
  size_t cells = 0, done = 0;
  std::vector<std::string> missing;  // a line for each cell that is not done
};

/// Losses, interpolated between points, of a curve that goes so far; nothing outside of it.
std::optional<double> loss_at(const std::vector<Point>& points, double Point::*axis, double value);

/// The points of a run's metrics, as they stand in metrics.jsonl. `before`: tokens and FLOP of what was prepared for
/// it.
FinishedRun read_curve(const PlannedRun& run, const std::string& metrics, const Point& before);

/// What all updates of a run cost: tokens and FLOP.
Point cost_of(const Facts& facts);

Report make_report(const std::string& name, std::vector<FinishedRun> runs);

/// Reads the folder of a sweep. Throws ConfigError where no sweep was started.
Report read_report(const SweepFolder& folder, const Records& records);

std::string to_text(const Report& report);
std::string to_csv(const Report& report);
/// One page that needs no other file.
std::string to_html(const Report& report);

}  // namespace lmnet::sweep
