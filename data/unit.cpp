#include "data/unit.h"

#include <fmt/format.h>

#include "data/errors.h"

namespace lmnet {
namespace {

constexpr int64_t longest_block = 1024;
constexpr int64_t most_blocks_per_stream = 16;

/// Joins neighbours that lie in one file, so that blocks become twice as long.
void double_blocks(std::vector<Unit>& units, int64_t length) {
  size_t kept = 0;
  for (Unit& unit : units) {
    if (unit.start.record % (2 * length) == 0) {
      if (&units[kept] != &unit) units[kept] = std::move(unit);
      ++kept;
    } else {
      units[kept - 1].count += unit.count;
    }
  }
  units.resize(kept);
}

}  // namespace

std::vector<Unit> make_units(const std::vector<std::filesystem::path>& files, Format format, int64_t streams) {
  std::vector<Unit> units;
  if (static_cast<int64_t>(files.size()) >= streams) {
    for (const auto& file : files) units.push_back({file, {}, Unit::to_the_end});
    return units;
  }
  int64_t length = 1;
  for (const auto& file : files) {
    RecordReader reader(file, format);
    Record record;
    for (Cursor start = reader.cursor(); reader.next(record); start = reader.cursor()) {
      if (start.record % length != 0) {
        ++units.back().count;
        continue;
      }
      units.push_back({file, start, 1});
      if (static_cast<int64_t>(units.size()) > most_blocks_per_stream * streams && length < longest_block) {
        double_blocks(units, length);
        length *= 2;
      }
    }
  }
  if (units.empty()) throw DataError(fmt::format("{}: holds no records", files.front().string()));
  return units;
}

}  // namespace lmnet
