#pragma once
#include <string>
#include <vector>

#include "trainer/cost/device_spec.h"
#include "trainer/cost/model.h"

namespace lmnet {

/// What a stage needs on so many ranks, for people: level by level what the ranks of a replica run, hold and send,
/// ranks that are alike in one line; then memory, speed-up and time of a step on `device`; and where it does not fit,
/// what would. For a layout that check_layout() takes.
std::string stage_table(const Config& config, const ModelSpec& spec, int ranks, const StageConfig& stage,
                        const DeviceSpec& device);

/// `0-3, 6`; `0, 2, … 510`; `17 of 32`: ascending ranks, `size` of which there are.
std::string rank_list(const std::vector<int>& ranks, int size);

}  // namespace lmnet
