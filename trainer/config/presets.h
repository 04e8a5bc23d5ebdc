#pragma once
#include <string>
#include <vector>

#include "trainer/config/tree.h"

namespace lmnet::config {

/// The networks as published, by the names that `model.preset` takes.
std::vector<std::string> preset_names();

/// Gives the tree the defaults of its `model.preset` where it has no value of its own. A preset that does not exist is
/// left to the schema.
void apply_preset(Node& tree);

/// What each preset sets, for `lmnet help config`.
std::string preset_reference();

}  // namespace lmnet::config
