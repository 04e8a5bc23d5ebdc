#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "data/byte_reader.h"
#include "data/record.h"

namespace simdjson::dom {
class element;
class parser;
}  // namespace simdjson::dom

namespace lmnet {

/// A place between two records of a file: what lies before it.
struct Cursor {
  int64_t record = 0;
  int64_t line = 0;
  int64_t offset = 0;  // bytes of text, decompressed
};

/// Pulls the records of one file in order, in bounded memory. Throws DataError naming file, record and line.
class RecordReader {
 public:
  /// Starts at `start`: at once in a plain file, by decompressing what lies before it in a compressed one.
  RecordReader(const std::filesystem::path& file, Format format, const Cursor& start = {});
  RecordReader(RecordReader&&) noexcept;
  ~RecordReader();

  /// The next record; false at the end of the file.
  bool next(Record& record);
  /// Passes over one record unparsed; false at the end of the file.
  bool skip();
  /// Of the next record.
  Cursor cursor() const { return {record_, line_, bytes_->offset()}; }

 private:
  void open(const std::filesystem::path& file);
  void go(const Cursor& start);
  bool next_raw();
  bool next_line();
  bool next_text();
  bool next_item();
  void read_object();
  int next_visible();
  void parse(Record& record);
  std::vector<ChatMessage> parse_messages(const simdjson::dom::element& root) const;
  [[noreturn]] void fail(const std::string& what) const;

  std::unique_ptr<ByteReader> bytes_;
  std::unique_ptr<simdjson::dom::parser> parser_;
  Format format_;
  bool list_ = false;
  bool ended_ = false;
  int64_t record_ = 0;      // records passed
  int64_t line_ = 0;        // line ends passed
  int64_t first_line_ = 0;  // of the record in raw_, from 1
  std::string raw_;
};

}  // namespace lmnet
