#pragma once
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "trainer/config/config.h"
#include "trainer/device.h"
#include "trainer/run/signals.h"

namespace lmnet {

/// Trains by `config` on all ranks of `world`, each on its device `where`, resuming what lies in the run folder;
/// `hosts` are those of the ranks. `signals` that came before count too; from here on it takes those of the config.
/// Returns 0 when all stages are done, 128 + signal after a saved stop. Throws AgreedError when every rank failed
/// alike, anything else when only this one did.
int train(Communicator& world, const Config& config, const std::vector<std::string>& hosts, StopSignals& signals,
          const RankDevice& where = {});

}  // namespace lmnet
