#pragma once
#include <string>
#include <vector>

#include "data/loader.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/engine.h"
#include "trainer/run_state.h"
#include "trainer/tokenizer_files.h"

namespace lmnet {

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
