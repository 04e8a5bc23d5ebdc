#include "trainer/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "model/graph/errors.h"

namespace lmnet {
namespace {

/// Every update has the same number of tokens, so that a length in tokens is one in updates.
double in_updates(const Span& span, int64_t tokens_per_update, const char* key) {
  switch (span.unit) {
    case Span::Unit::updates:
      return span.value;
    case Span::Unit::tokens:
      return span.value / static_cast<double>(tokens_per_update);
    default:
      throw ConfigError(std::string(key) +
                        ": epochs and times are planned, not built yet; give updates (u) or tokens (t)");
  }
}

}  // namespace

Schedule::Schedule(const StageConfig& stage, int64_t tokens_per_update)
    : kind_(stage.schedule),
      updates_(static_cast<int64_t>(std::ceil(in_updates(stage.until, tokens_per_update, "train.stages.until")))),
      warmup_(in_updates(stage.warmup, tokens_per_update, "train.stages.warmup")) {}

bool Schedule::done(const Progress& in_stage) const {
  return in_stage.updates >= updates_;
}

int64_t Schedule::updates_left(const Progress& in_stage) const {
  return std::max<int64_t>(0, updates_ - in_stage.updates);
}

double Schedule::factor(const Progress& in_stage) const {
  auto at = static_cast<double>(in_stage.updates);
  if (at < warmup_) return (at + 1) / (warmup_ + 1);
  double rest = static_cast<double>(updates_) - warmup_;
  double left = rest > 0 ? 1 - (at - warmup_) / rest : 1;
  switch (kind_) {
    case ScheduleKind::constant:
      return 1;
    case ScheduleKind::linear:
      return left;
    case ScheduleKind::cosine:
      return 0.5 * (1 - std::cos(std::numbers::pi * left));
  }
  return 1;
}

}  // namespace lmnet
