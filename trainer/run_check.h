#pragma once
#include <string>

#include "parallel/plan.h"
#include "trainer/config/config.h"
#include "trainer/model_spec.h"

namespace lmnet {

// What can be known of a run before it starts, on one core and without weights. All throw ConfigError.

/// Whether the batches and parallel sizes fit so many ranks.
void check_layout(const Config& config, int ranks);

/// Whether each stage trains something, for a length that can be counted.
void check_stages(const Config& config, const ModelSpec& spec);

/// The plan of a stage on so many ranks, for a layout that fits.
Plan plan_of(const ModelSpec& spec, const Config& config, int ranks, const Trains& trains);

/// Topology, parameters, plan and memory of every stage on so many ranks: `lmnet train --dry-run`.
std::string describe_run(const Config& config, int ranks);

}  // namespace lmnet
