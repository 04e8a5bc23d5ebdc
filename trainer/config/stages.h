#pragma once
#include <string>
#include <vector>

#include "trainer/config/codec.h"

namespace lmnet::config {

/// The keys of one entry of train.stages.
Mapping<StageConfig> stage_keys();

/// Gives stages without a name one made of what they train, and refuses names that stand twice. `node` is the list.
void name_stages(std::vector<StageConfig>& stages, const Node& node, const std::string& path);

}  // namespace lmnet::config
