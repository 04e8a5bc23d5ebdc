#pragma once
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "data/data_files.h"
#include "data/errors.h"
#include "data/format_file.h"
#include "tests/samples.h"

namespace lmnet::test {

/// A new folder that goes when the test is done.
class TempFolder {
 public:
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "lmnet-data-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  std::string path(const std::string& name) const { return (path_ / name).string(); }
  /// Writes a file, compressed if its name ends in .gz or .zst; returns its path.
  std::string write(const std::string& name, std::string_view text) const {
    return write_bytes(name, name.ends_with(".gz")    ? gzip_member(text)
                             : name.ends_with(".zst") ? zstd_frame(text)
                                                      : std::string(text));
  }
  /// The same, as they are.
  std::string write_bytes(const std::string& name, std::string_view bytes) const {
    std::ofstream(path(name), std::ios::binary) << bytes;
    return path(name);
  }

  static std::string gzip_member(std::string_view text) {
    z_stream stream{};
    deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    std::string member(deflateBound(&stream, text.size()), '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream.avail_in = static_cast<uInt>(text.size());
    stream.next_out = reinterpret_cast<Bytef*>(member.data());
    stream.avail_out = static_cast<uInt>(member.size());
    deflate(&stream, Z_FINISH);
    member.resize(stream.total_out);
    deflateEnd(&stream);
    return member;
  }
  static std::string zstd_frame(std::string_view text) {
    std::string frame(ZSTD_compressBound(text.size()), '\0');
    frame.resize(ZSTD_compress(frame.data(), frame.size(), text.data(), text.size(), 3));
    return frame;
  }

 private:
  std::filesystem::path path_;
};

inline std::string read_file(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::vector<Record> all_records(const std::filesystem::path& file, const Format& format) {
  std::vector<Record> records;
  const auto take = [&](int64_t number, Record&& record) {
    EXPECT_EQ(number, static_cast<int64_t>(records.size()));
    records.push_back(std::move(record));
    return true;
  };
  read_records(file, format, take);
  return records;
}

/// What the DataError of `action` says.
template <typename Action>
std::string data_error(Action&& action) {
  try {
    action();
  } catch (const DataError& error) {
    return error.what();
  }
  ADD_FAILURE() << "no DataError";
  return "";
}

/// C4 lines whose texts are `NAME:0.`, `NAME:1.`, … each followed by a tail of its own length.
inline std::string c4_lines(const std::string& name, int first, int last) {
  std::string lines;
  for (int i = first; i < last; ++i) {
    lines += fmt::format("{{\"text\":\"{}:{}.{}\"}}\n", name, i, std::string(static_cast<size_t>(i * 7 % 23), 'x'));
  }
  return lines;
}

}  // namespace lmnet::test

#define SKIP_WITHOUT(file) \
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "no sample " << (file) << "; set LMNET_TEST_DATA"
