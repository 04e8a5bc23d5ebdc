#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>

namespace lmnet {

/// The gzip stream is cut off or damaged; the caller adds file and record.
class BrokenGzip : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The text of a plain or gzip file, piece by piece, a byte-order mark at its start left out. Keeps no file open
/// between two pieces, so that thousands of streams need no file handles. Throws BrokenGzip, and DataError for a file
/// that cannot be read.
class ByteReader {
 public:
  explicit ByteReader(std::filesystem::path file);
  ~ByteReader();
  ByteReader(const ByteReader&) = delete;
  ByteReader& operator=(const ByteReader&) = delete;

  /// The next byte, or -1 at the end.
  int peek() { return at_ < piece_.size() || fill() ? static_cast<unsigned char>(piece_[at_]) : -1; }
  int get() {
    const int byte = peek();
    if (byte >= 0) ++at_;
    return byte;
  }
  /// The next line without its end (LF or CRLF); false at the end of the file. Throws DataError above `max_record`.
  bool read_line(std::string& line);

  /// Plain files only: the place of the next byte, and going to such a place.
  int64_t offset() const { return file_offset_ - static_cast<int64_t>(piece_.size() - at_); }
  void seek(int64_t offset);

  bool gzip() const { return inflate_ != nullptr; }
  const std::filesystem::path& file() const { return file_; }

  /// A longer record is taken for a mistake (a file of another kind), so that memory stays bounded.
  static constexpr size_t max_record = size_t{256} << 20;

 private:
  struct Inflate;

  bool fill();
  bool fill_inflated();
  bool read_file(std::string& into);

  std::filesystem::path file_;
  int64_t file_offset_ = 0;
  std::string piece_;
  size_t at_ = 0;
  std::unique_ptr<Inflate> inflate_;
};

}  // namespace lmnet
