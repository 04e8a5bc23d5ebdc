#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "launch/sweep/sweep_folder.h"

namespace lmnet::sweep {

/// How far a run is, out of its folder.
struct RunView {
  std::string name;
  Record record;
  int64_t update = 0, updates = 0;  // made, and all
  std::optional<double> loss, validation_loss, tokens_per_s;
  std::optional<double> seconds_left;  // of one that runs
};
RunView view_of(const SweepFolder& folder, const PlannedRun& run, const Record& record);

/// What ended a run that failed, in one line: its status.json, else the last line of its log that LMNet printed, else
/// its code.
std::string reason_of(const SweepFolder& folder, const std::string& run, int code);

}  // namespace lmnet::sweep
