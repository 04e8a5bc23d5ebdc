#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "parallel/communicator.h"
#include "trainer/clock.h"
#include "trainer/config/config.h"
#include "trainer/run/fault_hook.h"

namespace lmnet {

enum class Phase { start, step, checkpoint, evaluation };

/// What a rank of a run does at the moment. The communicator hears of each change, with the time-out that
/// `parallel.timeout` gives the phase.
class Phases {
 public:
  Phases(Communicator& world, const ParallelConfig::Timeouts& timeouts);

  /// `update`: the one that is made, saved or evaluated; 0 at the start of the run.
  void enter(Phase phase, int64_t update);

  /// A point inside the present phase, of which only LMNET_FAULT hears.
  void reach(std::string_view point) { faults_.enter(point, update_); }

  /// `update 12, for 3.4 s`
  std::string describe() const;

 private:
  Communicator& world_;
  ParallelConfig::Timeouts timeouts_;
  FaultHook faults_;
  std::string name_;
  int64_t update_ = 0;
  Clock::time_point since_ = Clock::now();
};

}  // namespace lmnet
