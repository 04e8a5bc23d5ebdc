#pragma once
#include <cstdint>
#include <string>

#include "parallel/communicator.h"
#include "trainer/config/config.h"
#include "trainer/console.h"

namespace lmnet {

/// What the loader does alone, as training would use it: over all ranks that read, sums of rates, else the slowest.
struct LoadMeasurement {
  int ranks = 1, vertex = 1, readers = 0;
  int64_t streams = 0, batch = 0, sequence_length = 0;
  int64_t batches = 0;            // measured
  double first_batch_s = 0;       // from opening the data to the first batch
  double tokens_per_s = 0;        // as fast as it can
  double text_mb_per_s = 0;       // 1e6 bytes of text; 0 for prepared data
  double text_mb_per_core_s = 0;  // of processor time, of all threads
  double save_ms = 0;             // position of all streams of a rank
  double restore_s = 0;           // the same position in a new loader, up to its first batch
  double peak_memory_mib = 0;     // above what there was before, the tokenizer included

  std::string json() const;  // one line
  std::string text() const;
};

/// `lmnet bench --what load`: takes batches for so many seconds, `steps` at least, after `warmup` ones. Each replica's
/// first rank reads; where parallel.vertex does not fit the ranks, each one, as a replica of its own: who shares a
/// replica makes no difference to its data. `console` shows how far it is. Collective. Throws AgreedError.
LoadMeasurement measure_loading(Communicator& world, const Config& config, int64_t steps, int64_t warmup,
                                double seconds, Console* console = nullptr);

}  // namespace lmnet
