#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "trainer/config/config.h"

namespace lmnet {

/// Decides whether an update is made, from its loss and gradient norm, which all ranks know alike: so do they decide
/// alike. A spike is a loss or a norm that lies more than `train.spike.sigma` standard deviations above the mean of the
/// last `train.spike.window` updates (OLMo-core's SkipStepOptimizer, llm.c's outlier detector); before half a window is
/// full, nothing is one. Values that are not finite do not enter the window.
class UpdateGuard {
 public:
  /// `config` outlives it.
  explicit UpdateGuard(const TrainConfig& config) : config_(config) {}

  enum class Verdict { make, skip, stop };
  /// Of an update, which counts as seen.
  Verdict judge(double loss, double norm);
  /// Why the last update was not made: `loss nan`, `norm 31.2 is 8.4 deviations above the mean of the last 128`.
  const std::string& reason() const { return reason_; }
  /// Updates that were left out.
  int64_t skipped() const { return skipped_; }

  /// Another stage trains something else: what was usual counts no more.
  void begin_stage();

  /// For state.json; the same decisions follow.
  nlohmann::json state() const;
  void restore(const nlohmann::json& state);

 private:
  std::string what_is_wrong(double loss, double norm) const;
  std::string spike(const char* name, const std::vector<double>& window, double value) const;

  const TrainConfig& config_;
  std::vector<double> losses_, norms_;  // the oldest first
  int64_t skipped_ = 0, in_a_row_ = 0;
  std::string reason_;
};

}  // namespace lmnet
