#include <fmt/format.h>

#include <optional>
#include <utility>

#include "data/errors.h"
#include "data/loader.h"
#include "data/packer.h"
#include "data/record_reader.h"

namespace lmnet {
namespace {

/// The records of all sources, one after the other.
class AllRecords {
 public:
  AllRecords(const std::vector<Source>& sources, std::vector<SkippedRecord>* skipped) : skipped_(skipped) {
    for (const Source& source : sources) {
      for (const auto& file : expand(source.path)) files_.push_back({file, source.format});
    }
  }

  bool next(Record& record) {
    while (!reader_ || !read(record)) {
      if (file_ == files_.size()) return false;
      reader_.emplace(files_[file_].first, files_[file_].second);
      ++file_;
    }
    return true;
  }

 private:
  bool read(Record& record) {
    const bool more = reader_->next(record);
    if (skipped_) skipped_->insert(skipped_->end(), reader_->skipped().begin(), reader_->skipped().end());
    return more;
  }

  std::vector<std::pair<std::filesystem::path, Format>> files_;
  size_t file_ = 0;
  std::optional<RecordReader> reader_;
  std::vector<SkippedRecord>* skipped_;
};

}  // namespace

std::vector<TokenBatch> validation_batches(const std::vector<Source>& sources, const Tokenizer& tokenizer,
                                           const RowShape& shape, int64_t rows, int64_t limit,
                                           std::vector<SkippedRecord>* skipped) {
  if (shape.length < 2 || rows < 1) {
    throw DataError(fmt::format("validation needs sequences and batches of at least 1, not {} tokens and {} rows",
                                shape.length - 1, rows));
  }
  AllRecords records(sources, skipped);
  const auto next = [&](Document& document) {
    for (Record record; records.next(record);) {
      document = make_document(tokenizer, record);
      if (fit(document, shape)) return true;
    }
    return false;
  };
  std::vector<TokenBatch> batches;
  Packer packer(tokenizer, shape);
  TokenBatch batch;
  batch.length = shape.length;
  for (int64_t position = 0; packer.append_row(next, batch); ++position) {
    batch.positions.push_back(position);
    if (++batch.rows < rows) continue;
    batches.push_back(std::exchange(batch, {}));
    batch.length = shape.length;
    if (std::ssize(batches) == limit) return batches;
  }
  if (batch.rows > 0) batches.push_back(std::move(batch));
  if (batches.empty()) {
    throw DataError(
        fmt::format("{}: the validation data holds nothing to learn: no records, or prompts that fill "
                    "data.sequence_length",
                    sources.empty() ? "data.validation" : sources.front().path.text()));
  }
  return batches;
}

}  // namespace lmnet
