#pragma once
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "data/errors.h"
#include "data/record.h"
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
  /// Writes a file, compressed if its name ends in .gz; returns its path.
  std::string write(const std::string& name, std::string_view text) const {
    if (name.ends_with(".gz")) {
      gzFile file = gzopen(path(name).c_str(), "wb");
      gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
      gzclose(file);
    } else {
      std::ofstream(path(name), std::ios::binary) << text;
    }
    return path(name);
  }

 private:
  std::filesystem::path path_;
};

inline std::string read_file(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::vector<Record> all_records(const std::filesystem::path& file, Format format) {
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
