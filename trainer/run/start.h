#pragma once
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "trainer/config/config.h"
#include "trainer/run/folder.h"

namespace lmnet {

/// Where a run begins.
struct RunStart {
  std::string checkpoint;          // its folder; empty = at update 0
  std::vector<std::string> notes;  // what the user should hear: changed keys, damaged checkpoints that were passed over
};

/// Decides by `run.resume` and what lies in the run folder, writing nothing there. Collective; throws
/// AgreedError for a folder of another run, a refused `run.resume`, and damaged checkpoints.
RunStart choose_start(Communicator& world, const Config& config, const RunFolder& folder);

}  // namespace lmnet
