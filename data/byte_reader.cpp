#include "data/byte_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "data/errors.h"

namespace lmnet {
namespace {

constexpr size_t piece_size = 64 << 10;

/// A file that is named as compressed and is not may be anything, a page that says "not found" among others.
void check_name(const std::filesystem::path& file, std::string_view bytes, Compression compression) {
  const std::string extension = file.extension().string();
  const auto wanted = extension == ".gz"    ? Compression::gzip
                      : extension == ".zst" ? Compression::zstd
                                            : Compression::none;
  if (wanted != Compression::none && compression == Compression::none)
    throw BrokenCompression(
        fmt::format("broken {} stream ({})", name_of(wanted),
                    bytes.empty() ? "the file is empty" : fmt::format("it does not start like {}", name_of(wanted))));
  if (bytes.starts_with("BZh") || bytes.starts_with("\xfd\x37zXZ"))
    throw DataError(fmt::format("{}: is compressed by {}; plain text, gzip and zstd can be read", file.string(),
                                bytes[0] == 'B' ? "bzip2" : "xz"));
}

}  // namespace

ByteReader::ByteReader(std::filesystem::path file) : file_(std::move(file)) {
  std::ifstream in;
  read_file(in, piece_);
  const Compression compression = compression_of(piece_);
  check_name(file_, piece_, compression);
  decompressor_ = make_decompressor(compression);
  if (decompressor_) {
    compressed_.bytes = std::exchange(piece_, {});
    fill_from(in);
  } else {
    text_offset_ = static_cast<int64_t>(piece_.size());
  }
  if (piece_.starts_with("\xef\xbb\xbf")) at_ = 3;
}

bool ByteReader::read_line(std::string& line) {
  line.clear();
  if (peek() < 0) return false;
  while (peek() >= 0) {
    const std::string_view rest = std::string_view(piece_).substr(at_);
    const size_t end = rest.find('\n');
    line.append(rest.substr(0, end));
    if (line.size() > max_record) {
      throw DataError(
          fmt::format("{}: a line of more than {} MiB; is this a text file?", file_.string(), max_record >> 20));
    }
    at_ = end == std::string_view::npos ? piece_.size() : at_ + end + 1;
    if (end != std::string_view::npos) break;
  }
  if (line.ends_with('\r')) line.pop_back();
  return true;
}

void ByteReader::seek(int64_t offset) {
  if (!decompressor_ && offset > text_offset_) {
    file_offset_ = text_offset_ = offset;
    piece_.clear();
    at_ = 0;
  }
  for (std::ifstream in; text_offset_ < offset && fill_from(in);) {
  }
  const int64_t behind = std::max<int64_t>(0, text_offset_ - offset);
  at_ = piece_.size() - std::min(piece_.size(), static_cast<size_t>(behind));
}

bool ByteReader::fill() {
  std::ifstream in;
  return fill_from(in);
}

bool ByteReader::fill_from(std::ifstream& in) {
  if (decompressor_) {
    decompress(in);
  } else {
    read_file(in, piece_);
  }
  at_ = 0;
  text_offset_ += static_cast<int64_t>(piece_.size());
  return !piece_.empty();
}

/// The next piece of the text; an empty one at the end.
void ByteReader::decompress(std::ifstream& in) {
  bool more_waits = piece_.size() == piece_size;  // for room, before new bytes come
  piece_.resize(piece_size);
  at_ = piece_size;  // nothing, should the data be damaged
  for (size_t filled = 0; filled == 0; more_waits = false) {
    if (compressed_.used_up() && !more_waits) {
      compressed_.at = 0;
      if (!read_file(in, compressed_.bytes)) {
        decompressor_->finish();
        piece_.clear();
        return;
      }
    }
    filled = decompressor_->run(compressed_, piece_);
    if (filled > 0) piece_.resize(filled);
  }
}

bool ByteReader::read_file(std::ifstream& in, std::string& into) {
  errno = 0;
  if (!in.is_open()) {
    in.rdbuf()->pubsetbuf(nullptr, 0);
    in.open(file_, std::ios::binary);
  }
  if (!in.is_open()) throw DataError(fmt::format("{}: cannot be opened: {}", file_.string(), std::strerror(errno)));
  into.resize(piece_size);
  in.clear();
  in.seekg(file_offset_);
  in.read(into.data(), static_cast<std::streamsize>(into.size()));
  if (in.bad()) throw DataError(fmt::format("{}: cannot be read: {}", file_.string(), std::strerror(errno)));
  into.resize(static_cast<size_t>(in.gcount()));
  file_offset_ += in.gcount();
  return !into.empty();
}

}  // namespace lmnet
