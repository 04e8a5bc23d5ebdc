#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/row_reader.h"
#include "data/skipped_record.h"

namespace simdjson::dom {
class parser;
}  // namespace simdjson::dom

namespace lmnet {

/// Pulls the records of one file in order, in bounded memory. Throws DataError naming file, record and line, and of
/// these MisfitRecord for a record that cannot be used.
class RecordReader {
 public:
  /// Starts at `start`: at once in a plain file and in Parquet, by decompressing what lies before it in another
  /// compressed one.
  RecordReader(const std::filesystem::path& file, const Format& format, const Cursor& start = {});
  RecordReader(RecordReader&&) noexcept;
  ~RecordReader();

  /// The next record; false at the end of the file. Where the format says so, bad ones before it are passed over.
  bool next(Record& record);
  /// Passes over one record unparsed; false at the end of the file.
  bool skip();
  /// Of the next record.
  Cursor cursor() const { return rows_->cursor(); }
  /// What the last next() passed over; empty after skip().
  const std::vector<SkippedRecord>& skipped() const { return skipped_; }

 private:
  template <typename Read>
  bool read(Read&& read);
  void parse(Record& record);

  std::filesystem::path file_;
  Format format_;
  std::unique_ptr<RowReader> rows_;
  std::unique_ptr<simdjson::dom::parser> parser_;
  Row row_;
  std::vector<SkippedRecord> skipped_;
};

}  // namespace lmnet
