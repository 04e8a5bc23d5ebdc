#pragma once
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data/loader.h"
#include "model/network.h"
#include "trainer/checkpoint/checkpoint_reader.h"
#include "trainer/schedule.h"

namespace lmnet {

/// Where a run stands, besides its tensors: `state.json`.
struct RunState {
  Progress run = {};       // since the first update
  int stage = 0;           // index of the stage that goes on
  Progress in_stage = {};  // since that stage began
  int restart = 0;         // how often the run was resumed
  int64_t streams = 0;     // S
  uint64_t seed = 1;
  std::vector<StreamState> stream_states = {};  // of all streams
  nlohmann::json guard = {};                    // UpdateGuard's
  bool evaluation_due = false;                  // the one of the last update was not made
};
/// `steps`: the optimiser's, of each part that ever trained.
std::string to_json(const RunState& state, const NetworkShape& shape, const std::map<Parameter::Part, int64_t>& steps);
RunState parse_state(const CheckpointReader& checkpoint);

}  // namespace lmnet
