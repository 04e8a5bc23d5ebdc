#pragma once
#include <memory>
#include <string>

#include "data/tokenizer.h"
#include "parallel/plan.h"
#include "trainer/config/config.h"
#include "trainer/cost/device_spec.h"
#include "trainer/model_spec.h"

namespace lmnet {

// What can be known of a run before it starts, on one core and without weights and data. All throw ConfigError.

/// Whether the batches and parallel sizes fit so many ranks.
void check_layout(const Config& config, int ranks);

/// What the config of a run stands for.
struct RunSpec {
  ModelSpec model;
  std::unique_ptr<Tokenizer> tokenizer;
};
/// Refuses all that can be refused of a run by its config. Throws DataError for its tokenizer too.
RunSpec check_run(const Config& config, int ranks);

/// The plan of a stage on so many ranks, for a layout that fits.
Plan plan_of(const ModelSpec& spec, const Config& config, int ranks, const Trains& trains);

/// Topology and parameters, and for each stage what it needs of every rank and how fast it would be on such a machine:
/// `lmnet train --dry-run`.
std::string describe_run(const Config& config, int ranks, const MachineOptions& machine = {});

}  // namespace lmnet
