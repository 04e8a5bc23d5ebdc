#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/data_files.h"
#include "data/document.h"
#include "data/record_reader.h"
#include "data/tokenizer.h"

namespace lmnet {

struct Source {
  Paths path;
  Format format;
  double weight = 1;                                // share of tokens
  std::optional<int64_t> epochs = {}, tokens = {};  // the most that is taken of it: times each record, and tokens
  std::string name = {};                            // for people; empty: the path is one
};

/// What fixes the order of the training data, besides the tokenizer. Never the number of ranks.
struct LoaderOptions {
  uint64_t seed = 1;
  int64_t sequence_length = 0;
  bool packing = true;
  bool documents = false;  // packed ones are told apart
  int64_t global_batch = 0;
  int64_t streams = 0;  // S, fixed when the run is created
  int readers = 0;      // threads that read ahead, which change nothing; 0: next() reads
};

/// The default of S: global_batch, above 1024 its largest divisor up to 1024 that `data_parallel` divides. Throws
/// DataError where data_parallel does not divide global_batch.
int64_t default_streams(int64_t global_batch, int data_parallel);

/// `rows` sequences of sequence_length + 1 tokens each, row-major: token t + 1 is the target of token t.
/// `learn[i]` is 1 where token i counts as a target (never at t = 0, prompts and padding).
struct TokenBatch {
  int64_t rows = 0, length = 0;  // length = sequence_length + 1
  std::vector<int32_t> tokens;
  std::vector<uint8_t> learn;
  /// Where documents are told apart: 1 where one begins, as every row does; empty otherwise.
  std::vector<uint8_t> starts = {};
  std::vector<int64_t> positions;  // of each row in the global batch
};

/// Where one stream stands. A few numbers, whatever the size of the data.
struct StreamState {
  int64_t stream = 0;
  std::string position;  // JSON, the loader's own
};

/// Feeds positions k of the global batch with k mod S in [rank·S/ranks, (rank+1)·S/ranks), in ascending order of k.
/// S must divide global_batch, and `ranks` S. The tokenizer must outlive the loader. The constructor looks for the
/// files and reads small sources once, so that what is missing or broken shows. Throws DataError.
class Loader {
 public:
  Loader(std::vector<Source> sources, const Tokenizer& tokenizer, LoaderOptions options, int rank, int ranks);
  Loader(Loader&&) noexcept;
  Loader& operator=(Loader&&) noexcept;
  ~Loader();

  /// This rank's global_batch / ranks sequences of the next update.
  TokenBatch next();

  /// The state of this rank's streams; restore() takes those of all streams and picks its own.
  std::vector<StreamState> state() const;
  void restore(const std::vector<StreamState>& streams);

  /// Bad records that were passed over on the way to the batches since the last call, in no order and some of them
  /// perhaps again. What batches these are told with is the same for any number of ranks and readers.
  std::vector<SkippedRecord> take_skipped();

  /// Text of the batches so far that went through the tokenizer, in bytes.
  int64_t text_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// All sequences of this shape of a validation set in batches of up to `rows`, each record once, in file order (weights
/// play no part); the last sequence is padded, the last batch may be smaller, `positions` number the sequences; only
/// the first `limit` batches, 0 = all. `skipped` gets the bad records that were passed over. Throws DataError, also
/// where there is nothing to learn.
std::vector<TokenBatch> validation_batches(const std::vector<Source>& sources, const Tokenizer& tokenizer,
                                           const RowShape& shape, int64_t rows, int64_t limit = 0,
                                           std::vector<SkippedRecord>* skipped = nullptr);

/// Sum over the rows (wrapping) of a 64-bit hash of (position in the global batch, tokens, mask, and where documents
/// that are told apart begin): the same for every layout when summed over the data-parallel ranks.
uint64_t batch_hash(const TokenBatch& batch);

}  // namespace lmnet
