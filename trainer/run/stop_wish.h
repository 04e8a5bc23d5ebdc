#pragma once
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "parallel/communicator.h"
#include "trainer/clock.h"
#include "trainer/config/config.h"
#include "trainer/run/job_end.h"
#include "trainer/run/signals.h"

namespace lmnet {

/// Whether, and why, a run is to save and stop before its end: a signal came, `lmnet stop` asked for it, or its time
/// is over (run.time_limit, or the end of the batch job, before which there must be time to save). Signals are seen by
/// the rank that gets them, the others by rank 0.
class StopWish {
 public:
  /// The time counts from now on. `signals` outlive it.
  StopWish(const StopSignals& signals, const RunConfig& run, bool first_rank, const Variables& variables);

  /// What `lmnet stop` writes.
  static std::filesystem::path request_in(const std::filesystem::path& run) { return run / "stop"; }
  /// Rank 0, once the run folder is its own: what was asked of an earlier start is forgotten, what `lmnet stop` asks
  /// from here on counts.
  void heed_requests();

  /// Whether this rank knows of a wish; stays true.
  bool here();
  /// Whether any rank does. Collective.
  bool anywhere(Communicator& world);

  struct Reason {
    std::string text;  // `signal USR1`
    int code = 0;      // 128 + signal; all others count as TERM
  };
  /// Why the ranks stop, once one of them wants to. Collective; the same on all ranks.
  Reason agree(Communicator& world);

  /// How long an update, or a save, took by itself: as much is left before the end of the job.
  void update_took(double seconds) { longest_update_ = std::max(longest_update_, seconds); }
  void save_took(double seconds) { longest_save_ = std::max(longest_save_, seconds); }

 private:
  // In the order in which they count.
  enum Cause : int64_t { none, time_limit, end_of_job, request, signal };  // of a signal, its number is added
  int64_t cause();
  Cause look();
  bool job_ends_soon();

  const StopSignals& signals_;
  const RunConfig& run_;
  const Clock::time_point started_ = Clock::now();
  std::optional<JobEnd> job_end_;  // on rank 0, which alone looks at anything but signals
  double margin_ = 0;              // seconds
  double longest_update_ = 0, longest_save_ = 0;
  bool heeds_requests_ = false;
  Clock::time_point looked_;
  Cause seen_ = none;
};

}  // namespace lmnet
