#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "parallel/communicator.h"
#include "trainer/config/config.h"
#include "trainer/console.h"
#include "trainer/device.h"

namespace lmnet {

struct BenchOptions {
  static constexpr int64_t kSteps = 5;
  std::string what = "train";         // train | forward | generate | load
  std::optional<int64_t> steps = {};  // measured; without it kSteps, of load what 3 s take
  int64_t warmup = 1;
  bool json = false;
};

/// What was measured, over all ranks. Rates are of the median step.
struct Measurement {
  std::string what, topology, precision;
  int ranks = 1, vertex = 1;
  int64_t batch = 0, sequence_length = 0;
  double seconds_per_step = 0, tokens_per_s = 0, flops_per_token = 0;
  double gemm_share = 0;  // model FLOP/s over what at::linear reaches on the block's own products, all ranks at once
  double peak_memory_gib = 0;        // of the fullest rank
  double baseline_memory_gib = 0;    // the same before there was a network
  double expected_memory_gib = 0;    // what the cost model says of the fullest rank, without that baseline
  double exchange_wait = 0;          // seconds of a step in exchanges and reductions, of the rank that waits longest
  int64_t total = 0, trainable = 0;  // parameters

  std::string json() const;  // one line, fields as on the interface page
  std::string text() const;
};

/// Trains (by the first stage) or runs forward as training does, on random weights and random tokens, without reading
/// any file but a backbone's shape; `console` shows how far it is. Collective; the same result on all ranks. Throws
/// AgreedError for a config that lacks what is needed.
Measurement measure(Communicator& world, const Config& config, const BenchOptions& options,
                    const RankDevice& where = {}, Console* console = nullptr);

/// `lmnet bench`: measures, and rank 0 prints. Returns 0.
int bench(Communicator& world, const Config& config, const BenchOptions& options, const RankDevice& where = {});

}  // namespace lmnet
