#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <vector>

#include "data/record.h"
#include "data/token_index.h"
#include "data/tokenizer.h"

namespace lmnet {

/// A source that becomes prepared data: shards for each file, in the order of its records. The same whoever makes them.
struct Preparation {
  std::vector<std::filesystem::path> files;
  Format format;
  const Tokenizer* tokenizer = nullptr;
  std::filesystem::path out;
  TokenIndex index;  // without shards
  int64_t shard_tokens = int64_t{64} << 20;
  size_t batch_bytes = 256 << 10;  // of text, that a thread takes at once

  /// Looks at the files. Throws DataError.
  Preparation(std::vector<std::filesystem::path> files, Format format, const Tokenizer& tokenizer,
              std::filesystem::path out);
};

/// Makes the folder, with an index that is not complete, or finds it again. Throws DataError where it holds anything
/// else.
void begin_preparation(const Preparation& preparation);

struct PreparationProgress {
  int64_t files = 0;       // done
  double share = 0;        // of the text, about
  int64_t text_bytes = 0;  // in this call
  int64_t tokens = 0;
};

/// Writes the shards of these files that are not there yet, on so many threads. Calls `tell` from one thread at a time,
/// about once a second. Throws DataError; what is finished stays.
void prepare_files(const Preparation& preparation, std::span<const int64_t> files, int threads,
                   const std::function<void(const PreparationProgress&)>& tell);

/// Completes the index when all files are prepared, and lists the bad records that were passed over in skipped.jsonl
/// beside it. Throws DataError where they are more than the format allows.
TokenIndex finish_preparation(const Preparation& preparation);

}  // namespace lmnet
