#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/loader.h"
#include "data/token_index.h"
#include "data/tokenizer.h"

namespace lmnet {

/// How much a source holds and what it looks like, for people and programs.
struct DataReport {
  std::string what;  // path or name
  std::string format;
  std::string tokenizer;
  int64_t files = 0, bytes = 0;
  bool prepared = false, complete = true;
  bool whole = true;  // the counts are of all records, not of the first ones
  TokenCounts counts;
  std::vector<Document> samples;

  std::string text(const Tokenizer& tokenizer) const;
  /// One line.
  std::string json(const Tokenizer& tokenizer) const;
};

/// Of a folder of prepared data; `verify` reads every shard to its end. Throws DataError.
DataReport report_prepared(const std::filesystem::path& folder, int64_t samples, bool verify = false);

/// Of raw files, tokenised; of large ones only the first records.
DataReport report_raw(const Source& source, const Tokenizer& tokenizer, int64_t samples);

/// A document as text, with « and » around what is read only.
std::string marked(const Document& document, const Tokenizer& tokenizer);

}  // namespace lmnet
