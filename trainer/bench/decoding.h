#pragma once
#include <cstdint>
#include <string>

#include "parallel/communicator.h"
#include "trainer/config/config.h"
#include "trainer/console.h"

namespace lmnet {

/// How fast one row is generated, with the cache and without, early and late in a text.
struct DecodingMeasurement {
  std::string topology, precision;
  int64_t near = 64, far = 1024;             // positions
  double seconds_near = 0, seconds_far = 0;  // a token there
  double recompute_near = 0;                 // a token at `near` when its whole row runs again
  double cache_mib = 0;                      // of a row up to `far`
  int64_t total = 0;                         // parameters

  double tokens_per_s() const { return 1 / seconds_near; }
  double times_faster() const { return recompute_near / seconds_near; }
  double growth() const { return seconds_far / seconds_near; }
  std::string json() const;  // one line
  std::string text() const;
};

/// `lmnet bench --what generate`, on one rank: medians of `steps` tokens after `warmup` ones, on random weights and
/// random tokens, early and late ones by turns; `console` shows how far it is. With learned positions `far` is the last
/// that there are. Throws AgreedError.
DecodingMeasurement measure_decoding(Communicator& world, const Config& config, int64_t steps, int64_t warmup,
                                     Console* console = nullptr);

}  // namespace lmnet
