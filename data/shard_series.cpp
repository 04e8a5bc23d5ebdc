#include "data/shard_series.h"

#include <fmt/format.h>

#include "data/errors.h"

namespace lmnet {
std::string ShardSeries::shard_name(int64_t file, int64_t number) {
  return fmt::format("shard-{:05}-{:04}.h5", file, number);
}

ShardSeries::ShardSeries(const Preparation& preparation, int64_t file) : preparation_(preparation), file_(file) {
  find_finished();
  end_ = start_;
}

/// Shards have their names only once they are whole. Those that do not follow one another are made anew.
void ShardSeries::find_finished() {
  for (; !done_; ++shard_) {
    const auto path = preparation_.out / shard_name(file_, shard_);
    if (!std::filesystem::exists(path)) return;
    const TokenShard shard = TokenShardReader(path).shard();
    if (shard.fingerprint != preparation_.index.fingerprint || shard.input != file_ || shard.number != shard_) return;
    start_ = shard.end;
    done_ = shard.last;
  }
}

std::optional<ShardSeries::Batch> ShardSeries::take() {
  if (!reader_) reader_.emplace(preparation_.files[file_], preparation_.format, start_);
  Batch batch;
  batch.number = taken_;
  size_t bytes = 0;
  Record record;
  for (bool more = true; more && bytes < preparation_.batch_bytes;) {
    more = reader_->next(record);
    const std::vector<SkippedRecord>& skipped = reader_->skipped();
    batch.skipped.insert(batch.skipped.end(), skipped.begin(), skipped.end());
    if (!more) break;
    bytes += record.bytes();
    batch.records.push_back(std::move(record));
  }
  if (batch.records.empty() && batch.skipped.empty()) return std::nullopt;
  batch.after = reader_->cursor();
  ++taken_;
  return batch;
}

void ShardSeries::give(Batch batch) {
  const std::lock_guard lock(writing_);
  waiting_.emplace(batch.number, std::move(batch));
  for (auto next = waiting_.find(written_); next != waiting_.end(); next = waiting_.find(written_)) {
    write(next->second);
    waiting_.erase(next);
    ++written_;
  }
}

TokenShardWriter& ShardSeries::writer() {
  if (!writer_)
    writer_ =
        std::make_unique<TokenShardWriter>(preparation_.out / shard_name(file_, shard_), preparation_.index.vocabulary);
  return *writer_;
}

void ShardSeries::write(const Batch& batch) {
  for (const SkippedRecord& record : batch.skipped) writer().skip(record);
  for (size_t i = 0; i < batch.documents.size(); ++i) writer().append(batch.documents[i], batch.text_bytes[i]);
  end_ = batch.after;
  if (writer_->counts().tokens >= preparation_.shard_tokens) finish_shard(end_, false);
}

void ShardSeries::finish() {
  const std::lock_guard lock(writing_);
  finish_shard(end_, true);
  done_ = true;
}

void ShardSeries::finish_shard(const Cursor& end, bool last) {
  TokenShard shard;
  shard.fingerprint = preparation_.index.fingerprint;
  shard.input = file_;
  shard.number = shard_;
  shard.last = last;
  shard.end = end;
  writer().finish(std::move(shard));
  writer_.reset();
  ++shard_;
}

}  // namespace lmnet
