#pragma once
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>

#include "data/decompressor.h"

namespace lmnet {

/// The text of a plain, gzip or zstd file, piece by piece, a byte-order mark at its start left out. Keeps no file open
/// between two pieces that are asked for, so that thousands of streams need no file handles. Throws BrokenCompression,
/// and DataError for a file that cannot be read.
class ByteReader {
 public:
  explicit ByteReader(std::filesystem::path file);
  /// The next byte, or -1 at the end.
  int peek() { return at_ < piece_.size() || fill() ? static_cast<unsigned char>(piece_[at_]) : -1; }
  int get() {
    const int byte = peek();
    if (byte >= 0) ++at_;
    return byte;
  }
  /// What is at hand of the text, to take() from; empty at the end.
  std::string_view rest() { return peek() < 0 ? std::string_view() : std::string_view(piece_).substr(at_); }
  void take(size_t bytes) { at_ += bytes; }
  /// The next line without its end (LF or CRLF); false at the end of the file. Throws DataError above `max_record`.
  bool read_line(std::string& line);

  /// The place of the next byte in the text, and going on to a later one: at once in a plain file, else by
  /// decompressing what lies between. Behind the text's end there is nothing more.
  int64_t offset() const { return text_offset_ - static_cast<int64_t>(piece_.size() - at_); }
  void seek(int64_t offset);

  const std::filesystem::path& file() const { return file_; }

  /// A longer record is taken for a mistake (a file of another kind), so that memory stays bounded.
  static constexpr size_t max_record = size_t{256} << 20;

 private:
  // `in` is opened where it is not yet.
  bool fill();
  bool fill_from(std::ifstream& in);
  void decompress(std::ifstream& in);
  bool read_file(std::ifstream& in, std::string& into);

  std::filesystem::path file_;
  int64_t file_offset_ = 0;
  int64_t text_offset_ = 0;  // behind piece_
  std::string piece_;
  size_t at_ = 0;
  std::unique_ptr<Decompressor> decompressor_;  // none: a plain file
  CompressedPiece compressed_;
};

}  // namespace lmnet
