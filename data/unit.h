#pragma once
#include <cstdint>
#include <filesystem>
#include <limits>
#include <vector>

#include "data/record_reader.h"

namespace lmnet {

/// What is dealt to one stream as a whole: a file, or consecutive records of one.
struct Unit {
  std::filesystem::path file;
  Cursor start;
  int64_t count = to_the_end;

  static constexpr int64_t to_the_end = std::numeric_limits<int64_t>::max();
};

/// Cuts a source into units. With at least `streams` files each file is one unit, unread so far. Otherwise all files
/// are read once (so bad records are found at the start) and cut into blocks of 2^n records, n as large as leaves at
/// least about eight blocks a stream, at most 1024 records; fewer records than 16 a stream give blocks of one record.
/// Throws DataError, also where there is no record at all.
std::vector<Unit> make_units(const std::vector<std::filesystem::path>& files, Format format, int64_t streams);

}  // namespace lmnet
