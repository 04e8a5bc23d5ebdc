#pragma once
#include <memory>
#include <vector>

#include "data/loader.h"
#include "parallel/mesh.h"
#include "trainer/config/config.h"

namespace lmnet {

/// S of a new run, by its config or the default. Throws DataError where the replicas do not divide the global batch.
int64_t streams_of(const Config& config, const Mesh& mesh);

/// What sequences of the run are like.
RowShape row_shape(const Config& config);

/// The config's part of what the loader takes.
LoaderOptions loader_options(const Config& config, int64_t streams);

/// What a run trains on: a loader on the first rank of each replica, from which the others hear.
class RunData {
 public:
  /// Opens the sources at `positions` (of all streams), or at their beginning where there are none. Collective; throws
  /// AgreedError. `tokenizer` and `mesh` outlive it.
  RunData(const Config& config, const Tokenizer& tokenizer, Mesh& mesh, int64_t streams,
          const std::vector<StreamState>& positions);

  /// The replica's rows of the next update. Collective.
  TokenBatch next();
  /// batch_hash() of the global batch of which this rank's replica has `batch`. Collective.
  uint64_t hash(const TokenBatch& batch) const;

  /// Bad records that this rank passed over since the last call, some of them perhaps again.
  std::vector<SkippedRecord> take_skipped();

  /// Where the streams that this rank reads stand.
  std::vector<StreamState> positions() const;

 private:
  Mesh& mesh_;
  int64_t rows_, length_;
  std::unique_ptr<Loader> loader_;
};

}  // namespace lmnet
