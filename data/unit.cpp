#include "data/unit.h"

#include <fmt/format.h>

#include <numeric>

#include "data/errors.h"
#include "data/shuffle.h"

namespace lmnet {
namespace {

/// A source of so many bytes on the disk is read at the start: in well below a second.
constexpr int64_t small_source = 16 << 20;

int64_t size_of(const std::filesystem::path& file) {
  std::error_code error;
  const auto size = std::filesystem::file_size(file, error);
  if (error) throw DataError(fmt::format("{}: cannot be opened: {}", file.string(), error.message()));
  return static_cast<int64_t>(size);
}

int64_t count_records(const std::filesystem::path& file, Format format) {
  RecordReader reader(file, format);
  for (Record record; reader.next(record);) {
  }
  return reader.cursor().record;
}

}  // namespace

Shards find_shards(std::vector<std::filesystem::path> files, Format format, int64_t streams) {
  Shards shards;
  shards.files = std::move(files);
  for (const auto& file : shards.files) shards.bytes.push_back(size_of(file));
  if (std::accumulate(shards.bytes.begin(), shards.bytes.end(), int64_t{0}) > small_source) {
    shards.whole = std::ssize(shards.files) >= streams;
    return shards;
  }
  for (const auto& file : shards.files) shards.records.push_back(count_records(file, format));
  if (std::accumulate(shards.records.begin(), shards.records.end(), int64_t{0}) == 0)
    throw DataError(fmt::format("{}: holds no records", shards.files.front().string()));
  return shards;
}

std::vector<std::vector<Unit>> deal(const Shards& shards, Format format, StreamRange streams, uint64_t key,
                                    int64_t& dealt) {
  const int64_t own = streams.end - streams.begin, all = streams.of;
  std::vector<std::vector<Unit>> hands(static_cast<size_t>(own));
  if (shards.whole) {
    for (const int64_t file : permutation(std::ssize(shards.files), key)) {
      const int64_t stream = dealt++ % all;
      if (stream >= streams.begin && stream < streams.end)
        hands[stream - streams.begin].push_back({shards.files[file], 0, 1, nullptr});
    }
    return hands;
  }
  for (size_t file = 0; file < shards.files.size(); ++file) {
    std::vector<bool> wanted(static_cast<size_t>(all));
    const auto first_of = [&](int64_t stream) { return (stream - dealt % all + all) % all; };
    for (int64_t stream = streams.begin; stream < streams.end; ++stream) wanted[first_of(stream)] = true;
    const auto scan = std::make_shared<FileScan>(shards.files[file], format, std::move(wanted));
    for (int64_t stream = streams.begin; stream < streams.end; ++stream)
      if (shards.records.empty() || first_of(stream) < shards.records[file])
        hands[stream - streams.begin].push_back({shards.files[file], first_of(stream), all, scan});
    dealt += shards.records.empty() ? all : shards.records[file];
  }
  return hands;
}

}  // namespace lmnet
