#include "data/byte_reader.h"

#include <fmt/format.h>
#include <zlib.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string_view>
#include <utility>

#include "data/errors.h"

namespace lmnet {
namespace {

constexpr size_t piece_size = 64 << 10;

}  // namespace

struct ByteReader::Inflate {
  Inflate() {
    // 15 + 16: the largest window, gzip headers only.
    if (inflateInit2(&stream, 15 + 16) != Z_OK) throw std::bad_alloc();
  }
  ~Inflate() { inflateEnd(&stream); }
  Inflate(const Inflate&) = delete;
  Inflate& operator=(const Inflate&) = delete;

  z_stream stream{};
  std::string input;
  bool member_open = true;
};

ByteReader::ByteReader(std::filesystem::path file) : file_(std::move(file)) {
  read_file(piece_);
  if (piece_.starts_with("\x1f\x8b")) {
    inflate_ = std::make_unique<Inflate>();
    inflate_->input = std::exchange(piece_, {});
    inflate_->stream.next_in = reinterpret_cast<Bytef*>(inflate_->input.data());
    inflate_->stream.avail_in = static_cast<uInt>(inflate_->input.size());
    fill();
  } else if (file_.extension() == ".gz") {
    throw BrokenGzip(piece_.empty() ? "the file is empty" : "it does not start like gzip");
  } else if (piece_.starts_with("\x28\xb5\x2f\xfd")) {
    throw DataError(fmt::format("{}: zstd files are not built yet; use plain text or gzip", file_.string()));
  }
  if (piece_.starts_with("\xef\xbb\xbf")) at_ = 3;
}

ByteReader::~ByteReader() = default;

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
  file_offset_ = offset;
  piece_.clear();
  at_ = 0;
}

bool ByteReader::fill() {
  at_ = 0;
  return inflate_ ? fill_inflated() : read_file(piece_);
}

bool ByteReader::fill_inflated() {
  z_stream& stream = inflate_->stream;
  while (true) {
    if (stream.avail_in == 0) {
      piece_.clear();
      if (!read_file(inflate_->input)) {
        if (inflate_->member_open) throw BrokenGzip("the file is cut off");
        return false;
      }
      stream.next_in = reinterpret_cast<Bytef*>(inflate_->input.data());
      stream.avail_in = static_cast<uInt>(inflate_->input.size());
    }
    if (!inflate_->member_open) {
      piece_.clear();
      if (*stream.next_in == 0) return false;  // padding after the last member, as tapes and tar leave it
      inflateReset(&stream);
      inflate_->member_open = true;
    }
    piece_.resize(piece_size);
    stream.next_out = reinterpret_cast<Bytef*>(piece_.data());
    stream.avail_out = static_cast<uInt>(piece_size);
    const int code = inflate(&stream, Z_NO_FLUSH);
    if (code == Z_STREAM_END) inflate_->member_open = false;
    piece_.resize(piece_size - stream.avail_out);
    // What came out before the damage is handed on first: zlib reports the damage again at the next call.
    if (!piece_.empty()) return true;
    if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR) {
      throw BrokenGzip(stream.msg ? stream.msg : "damaged data");
    }
  }
}

bool ByteReader::read_file(std::string& into) {
  std::ifstream in;
  in.rdbuf()->pubsetbuf(nullptr, 0);
  errno = 0;
  in.open(file_, std::ios::binary);
  if (!in) throw DataError(fmt::format("{}: cannot be opened: {}", file_.string(), std::strerror(errno)));
  into.resize(piece_size);
  in.seekg(file_offset_);
  in.read(into.data(), static_cast<std::streamsize>(into.size()));
  if (in.bad()) throw DataError(fmt::format("{}: cannot be read: {}", file_.string(), std::strerror(errno)));
  into.resize(static_cast<size_t>(in.gcount()));
  file_offset_ += in.gcount();
  return !into.empty();
}

}  // namespace lmnet
