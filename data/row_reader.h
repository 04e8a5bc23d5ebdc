#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/byte_reader.h"
#include "data/format.h"

namespace lmnet {

/// A place between two records of a file: what lies before it.
struct Cursor {
  int64_t record = 0;
  int64_t line = 0;
  int64_t offset = 0;  // bytes of text, decompressed
};

/// One record as it lies in its file: an object of JSON, or texts named by RowReader::columns().
struct Row {
  std::string json;
  std::vector<std::string> cells;
  int64_t line = 0;  // where it begins, from 1; 0: its file has no lines
};

/// The rows of one file in order, in bounded memory.
class RowReader {
 public:
  virtual ~RowReader() = default;

  /// False at the end of the file. Throws BadRecord for a row that is passed over by that, BrokenFile and DataError.
  virtual bool next(Row& row) = 0;
  /// Of the next row; and going on to one, before the first next().
  virtual Cursor cursor() const = 0;
  virtual void go(const Cursor& cursor) = 0;
  /// The names of the cells; none where rows are JSON.
  virtual const std::vector<std::string>& columns() const = 0;
};

/// Throws BrokenFile and DataError.
std::unique_ptr<RowReader> open_rows(const std::filesystem::path& file, const Format& format);

/// Rows of Parquet, which come as JSON with the columns that `names` has. Throws DataError, also where LMNet was built
/// without Parquet.
std::unique_ptr<RowReader> open_parquet(const std::filesystem::path& file, const std::set<std::string>& names);

/// Rows that lie in text.
class TextRowReader : public RowReader {
 public:
  TextRowReader(const std::filesystem::path& file, std::vector<std::string> columns)
      : bytes_(file), columns_(std::move(columns)) {}

  bool next(Row& row) final;
  Cursor cursor() const final { return {record_, line_, bytes_.offset()}; }
  void go(const Cursor& cursor) final;
  const std::vector<std::string>& columns() const final { return columns_; }

 protected:
  virtual bool read(Row& row) = 0;

  /// The next line that is not blank; false at the end.
  bool read_line(std::string& line);
  /// The next byte that is not blank, still to be taken; -1 at the end.
  int next_visible();
  /// Throws BrokenFile where a record has grown too long.
  static void check_size(size_t bytes, std::string_view cause);

  ByteReader bytes_;
  std::vector<std::string> columns_;
  int64_t record_ = 0;  // rows passed
  int64_t line_ = 0;    // line ends passed
};

}  // namespace lmnet
