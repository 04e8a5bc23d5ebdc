#pragma once
#include <cstdint>

#include "trainer/config/config.h"

namespace lmnet {

/// How far a run or a stage has come.
struct Progress {
  int64_t updates = 0;
  int64_t tokens = 0;  // input tokens of all sequences
};

/// Lengths and learning rate of one stage; everything counts from its start.
class Schedule {
 public:
  /// `tokens_per_update` = global_batch · sequence_length.
  Schedule(const StageConfig& stage, int64_t tokens_per_update);

  /// Whether the stage ends at this point.
  bool done(const Progress& in_stage) const;
  /// What the learning rate of the next update is multiplied with: a linear warm-up to 1, then constant, or falling to
  /// 0 at the end (linear, or half a cosine).
  double factor(const Progress& in_stage) const;
  /// Updates that are still to come.
  int64_t updates_left(const Progress& in_stage) const;
  int64_t updates() const { return updates_; }

 private:
  ScheduleKind kind_;
  int64_t updates_;
  double warmup_;  // in updates
};

}  // namespace lmnet
