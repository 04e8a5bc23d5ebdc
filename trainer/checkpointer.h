#pragma once
#include <map>
#include <string>
#include <vector>

#include "data/loader.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/engine.h"
#include "trainer/schedule.h"
#include "trainer/tokenizer_files.h"

namespace lmnet {

/// Where a run stands, besides its tensors: `state.json`.
struct RunState {
  Progress run;         // since the first update
  int stage = 0;        // index of the stage that goes on
  Progress in_stage;    // since that stage began
  int restart = 0;      // how often the run was resumed
  int64_t streams = 0;  // S
  uint64_t seed = 1;
  std::vector<StreamState> stream_states;  // of all streams
};
/// `steps`: the optimiser's, of each part that ever trained.
std::string to_json(const RunState& state, const NetworkShape& shape, const std::map<Parameter::Part, int64_t>& steps);
RunState parse_state(const CheckpointReader& checkpoint);

/// The kind of file that the parameters of a part stand in.
const char* file_kind(Parameter::Part part);

/// Saves the engine under `dir`, all ranks together; each tensor is written by the first rank that holds it. Either
/// all ranks return the folder or all throw AgreedError. `streams`: this rank's, none where it does not read.
/// `tokenizer`: the files of the run's, so that the checkpoint stands alone.
std::filesystem::path save_checkpoint(const std::filesystem::path& dir, Engine& engine, RunState state,
                                      const std::vector<StreamState>& streams, const std::string& config_yaml,
                                      const std::string& stage_name, const TextFiles& tokenizer = {});

/// Reads what this rank holds. With `moments` also the optimiser's state, which must be there for all that trains.
void load_checkpoint(const CheckpointReader& checkpoint, Optimizer& optimizer, bool moments);

}  // namespace lmnet
