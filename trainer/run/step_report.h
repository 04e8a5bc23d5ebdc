#pragma once
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "trainer/console.h"
#include "trainer/engine.h"
#include "trainer/run/state.h"

namespace lmnet {

/// What is told of one update: the step line for people, the object in metrics.jsonl for programs.
struct StepReport {
  UpdateResult result;
  std::map<Parameter::Part, double> lr;
  double seconds = 0, data_wait = 0;
  double checkpoint_wait = 0;  // not in `seconds`
  double memory_gib = 0;       // the most that this rank ever held
  double pace = 0;             // seconds of an update, smoothed over the last ones
  int64_t tokens_per_update = 0, all_updates = 0;
  uint64_t batch_hash = 0;
  int64_t skipped = 0;  // updates so far that changed no weight

  /// `update 120/2000 · 15.7 Mt · loss 2.3412 · norm 0.81 · lr 2.9e-4 · 1.92 s · 8529 tok/s · 31.2 GiB · 1 h 00 min
  /// left`; from 1 % of the time on with what it waited for data
  std::string line(const RunState& state) const;
  nlohmann::ordered_json metrics(const RunState& state) const;
  RunProgress progress(const RunState& state) const;
};

}  // namespace lmnet
