#pragma once
#include <optional>
#include <string>

#include "parallel/communicator.h"
#include "trainer/clock.h"
#include "trainer/config/config.h"
#include "trainer/signals.h"

namespace lmnet {

/// Whether, and why, a run is to save and stop before its end: a signal came, or its time is over.
class StopWish {
 public:
  /// The time counts from now on. `signals` outlive it.
  StopWish(const StopSignals& signals, const std::optional<Span>& time_limit);

  /// Whether this rank was told to stop.
  bool here() const;

  struct Reason {
    std::string text;  // `signal USR1`
    int code = 0;      // 128 + signal; the end of the time counts as TERM
  };
  /// Why the ranks stop, once one of them was told to. Collective; the same on all ranks.
  Reason agree(Communicator& world) const;

 private:
  const StopSignals& signals_;
  std::optional<Span> time_limit_;
  Clock::time_point started_ = Clock::now();
};

}  // namespace lmnet
