#pragma once
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "trainer/config/config.h"
#include "trainer/device.h"
#include "trainer/engine.h"
#include "trainer/model_spec.h"
#include "trainer/run/data.h"
#include "trainer/run/folder.h"
#include "trainer/run/lease.h"
#include "trainer/run/phases.h"
#include "trainer/run/report.h"
#include "trainer/run/signals.h"
#include "trainer/run/skipped_log.h"
#include "trainer/run/state.h"
#include "trainer/run/stop_wish.h"
#include "trainer/saving/checkpointer.h"
#include "trainer/update_guard.h"
#include "trainer/validation.h"

namespace lmnet {

/// What a rank of a run holds from its start to its end: `OpenRun{world, config, hosts, signals, where}`. What is
/// optional or a pointer is there once the run is open.
struct OpenRun {
  /// Lists bad records that were passed over, and tells of new ones. Collective.
  void note_skipped(const std::vector<SkippedRecord>& met);

  Communicator& world;
  const Config& config;
  const std::vector<std::string>& hosts;
  StopSignals& signals;
  const RankDevice& where;

  bool first = world.rank() == 0;  // rank 0 keeps the run folder
  Phases phases{world, config.parallel.timeouts};
  StopWish stop_wish{signals, config.run, first, std::getenv};
  RunFolder folder{config.run.folder()};
  RunReport report{folder, world, hosts};
  std::optional<RunLease> lease = {};  // rank 0's
  bool ours = false;                   // the folder belongs to this run
  ModelSpec spec = {};
  std::unique_ptr<Tokenizer> tokenizer = {};
  TextFiles tokenizer_files = {};  // copied into checkpoints, which stand alone
  std::optional<Mesh> mesh = {};
  std::unique_ptr<Engine> engine = {};
  std::optional<RunData> data = {};
  std::optional<Validation> validation = {};
  SkippedLog skipped{config.data.bad_record_limit};
  std::optional<Checkpointer> checkpointer = {};
  std::optional<CheckpointReader> resumed = {};  // until its tensors are read
  RunState state = {};
  std::optional<int64_t> resumed_update = {};  // of this run's own checkpoint that it goes on from
  UpdateGuard guard{config.train};
};

/// Takes the run folder, checks what can be refused, chooses where the run begins, opens its data, builds the network
/// and writes the first files of the folder, in this order. False, the rest undone, when a wish to stop came.
/// Collective; throws AgreedError when every rank failed alike.
bool open_run(OpenRun& run);

}  // namespace lmnet
