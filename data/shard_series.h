#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "data/prepare.h"
#include "data/record_reader.h"
#include "data/token_shard.h"

namespace lmnet {

/// One raw file and its shards. Batches of records are taken, tokenised by any thread, and given back in any order;
/// written they are in the file's. Goes on behind the shards that are finished already.
class ShardSeries {
 public:
  struct Batch {
    int64_t number = 0;
    std::vector<Record> records;
    std::vector<SkippedRecord> skipped;  // on the way to them
    Cursor after;
    std::vector<Document> documents;
    std::vector<int64_t> text_bytes;  // of each document
  };

  ShardSeries(const Preparation& preparation, int64_t file);

  static std::string shard_name(int64_t file, int64_t number);

  /// The next records; none at the end of the file. For one thread at a time.
  std::optional<Batch> take();
  /// For several threads.
  void give(Batch batch);
  /// After all batches are given back: the last shard.
  void finish();

  bool done() const { return done_; }
  int64_t file() const { return file_; }

 private:
  void find_finished();
  void write(const Batch& batch);
  TokenShardWriter& writer();
  void finish_shard(const Cursor& end, bool last);

  const Preparation& preparation_;
  int64_t file_;
  bool done_ = false;
  Cursor start_;
  std::optional<RecordReader> reader_;
  int64_t taken_ = 0;

  std::mutex writing_;
  std::map<int64_t, Batch> waiting_;
  int64_t written_ = 0;
  int64_t shard_ = 0;
  std::unique_ptr<TokenShardWriter> writer_;
  Cursor end_;  // of what is written
};

}  // namespace lmnet
