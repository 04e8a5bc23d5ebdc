#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/hdf5.h"
#include "data/record_reader.h"
#include "data/token_index.h"

namespace lmnet {

/// What an HDF5 file of prepared data tells of itself.
struct TokenShard {
  std::string fingerprint;        // of the index
  int64_t input = 0, number = 0;  // of the raw file; of the shard among that file's
  bool last = false;              // of that file
  Cursor end;                     // where the next shard begins in it
  int64_t vocabulary = 0;         // all tokens are below it
  TokenCounts counts;

  std::string json() const;
  /// Throws DataError.
  static TokenShard parse(const std::string& json);
};

/// Writes a shard: the datasets `tokens` (unsigned, 16 or 32 bits), `learn` (a bit for each token, the lowest first)
/// `ends` (behind the last token of each document) and `skipped` (the bad records passed over, a line of JSON each), in
/// chunks with a Fletcher-32 checksum, and the attribute `shard` (JSON). Under a temporary name until it is finished.
/// Throws DataError.
class TokenShardWriter {
 public:
  TokenShardWriter(std::filesystem::path path, int64_t vocabulary);

  const TokenCounts& counts() const { return counts_; }
  void append(const Document& document, int64_t text_bytes);
  void skip(const SkippedRecord& record);
  /// Fills in the counts, and gives the file its name when it is on the disk.
  void finish(TokenShard shard);

 private:
  void flush(bool last);

  std::filesystem::path path_, temporary_;
  int64_t vocabulary_;
  TokenCounts counts_;
  Hdf5File file_;
  Hdf5Dataset tokens_, learn_, ends_, skipped_;
  std::vector<uint32_t> pending_tokens_;
  std::vector<uint8_t> pending_learn_;  // a byte for each token; up to 7 more of them than tokens
  std::vector<uint64_t> pending_ends_;
  std::vector<char> pending_skipped_;
};

/// Reads a shard, checking what it reads. Throws DataError naming the file.
class TokenShardReader {
 public:
  explicit TokenShardReader(std::filesystem::path path);

  const TokenShard& shard() const { return shard_; }
  /// Appends documents from `first` on: `count` of them, or fewer that hold `most_tokens` together, but at least one.
  void read(int64_t first, int64_t count, int64_t most_tokens, std::vector<Document>& documents) const;
  /// The bad records that were passed over on the way; without a file, which the index knows.
  std::vector<SkippedRecord> skipped() const;
  /// Reads everything.
  void verify() const;

 private:
  std::filesystem::path path_;
  Hdf5File file_;
  Hdf5Dataset tokens_, learn_, ends_, skipped_;
  TokenShard shard_;
};

}  // namespace lmnet
