#include <fmt/format.h>

#include <optional>
#include <utility>

#include "data/errors.h"
#include "data/loader.h"
#include "data/packer.h"
#include "data/prepared_documents.h"
#include "data/record_reader.h"
#include "data/token_index.h"
#include "data/unit.h"

namespace lmnet {
namespace {

/// The documents of all sources, one after the other.
class AllDocuments {
 public:
  AllDocuments(const std::vector<Source>& sources, const Tokenizer& tokenizer, std::vector<SkippedRecord>* skipped)
      : tokenizer_(tokenizer), skipped_(skipped) {
    for (const Source& source : sources) {
      if (source.format.prepared()) {
        const Shards shards = find_prepared_shards(TokenIndex::folder_of(source.path), tokenizer, 1);
        for (size_t i = 0; i < shards.files.size(); ++i)
          files_.push_back({{shards.files[i], 0, 1, nullptr, shards.records[i], shards.prepared}, source.format});
      } else {
        for (const auto& file : expand(source.path)) files_.push_back({{file}, source.format});
      }
    }
  }

  bool next(Document& document) {
    while (true) {
      Record record;
      if (raw_ && read(record)) {
        document = make_document(tokenizer_, record);
        return true;
      }
      if (prepared_ && prepared_->next(document)) return true;
      if (file_ == files_.size()) return false;
      open(files_[file_++]);
    }
  }

 private:
  struct File {
    Unit unit;
    Format format;
  };

  void open(const File& file) {
    constexpr size_t bytes_at_once = 1 << 20;
    raw_.reset();
    prepared_.reset();
    if (file.unit.prepared)
      prepared_.emplace(file.unit, 0, bytes_at_once);
    else
      raw_.emplace(file.unit.file, file.format);
  }

  bool read(Record& record) {
    const bool more = raw_->next(record);
    if (skipped_) skipped_->insert(skipped_->end(), raw_->skipped().begin(), raw_->skipped().end());
    return more;
  }

  const Tokenizer& tokenizer_;
  std::vector<SkippedRecord>* skipped_;
  std::vector<File> files_;
  size_t file_ = 0;
  std::optional<RecordReader> raw_;
  std::optional<PreparedDocuments> prepared_;
};

}  // namespace

std::vector<TokenBatch> validation_batches(const std::vector<Source>& sources, const Tokenizer& tokenizer,
                                           const RowShape& shape, int64_t rows, int64_t limit,
                                           std::vector<SkippedRecord>* skipped) {
  if (shape.length < 2 || rows < 1) {
    throw DataError(fmt::format("validation needs sequences and batches of at least 1, not {} tokens and {} rows",
                                shape.length - 1, rows));
  }
  AllDocuments documents(sources, tokenizer, skipped);
  const auto next = [&](Document& document) {
    while (documents.next(document))
      if (fit(document, shape)) return true;
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
