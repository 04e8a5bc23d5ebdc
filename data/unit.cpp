#include "data/unit.h"

#include <fmt/format.h>

#include <numeric>

#include "data/errors.h"
#include "data/shuffle.h"
#include "data/token_index.h"

namespace lmnet {
namespace {

/// A source of so many bytes on the disk is read at the start: in well below a second.
constexpr int64_t small_source = 16 << 20;
constexpr int64_t most_runs_per_stream = 16;

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

void require_usable(const TokenIndex& index, const std::filesystem::path& folder, const Tokenizer& tokenizer) {
  if (!index.complete)
    throw DataError(fmt::format("{}: is not prepared to its end; call lmnet prepare again", folder.string()));
  if (index.tokenizer_hash != tokenizer.hash())
    throw DataError(
        fmt::format("{}: was prepared with another tokenizer, {}, than the run's, {}; prepare the data again",
                    folder.string(), index.tokenizer, tokenizer.name()));
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

Shards find_prepared_shards(const std::filesystem::path& folder, const Tokenizer& tokenizer, int64_t streams) {
  const TokenIndex index = TokenIndex::read(folder);
  require_usable(index, folder, tokenizer);
  Shards shards;
  shards.prepared = std::make_shared<const std::string>(index.fingerprint);
  for (const TokenIndex::Shard& shard : index.shards) {
    shards.files.push_back(folder / shard.file);
    shards.bytes.push_back(shard.bytes);
    shards.records.push_back(shard.counts.documents);
    if (size_of(shards.files.back()) != shard.bytes)
      throw DataError(fmt::format("{}: has another size than {} says: copy it again, or prepare the data again",
                                  shards.files.back().string(), TokenIndex::file_name));
  }
  if (shards.records.empty()) throw DataError(fmt::format("{}: holds no documents", folder.string()));
  const auto runs = [&](int64_t length) {
    int64_t count = 0;
    for (const int64_t documents : shards.records) count += (documents + length - 1) / length;
    return count;
  };
  for (shards.run = 1; runs(shards.run) > most_runs_per_stream * streams && runs(2 * shards.run) < runs(shards.run);)
    shards.run *= 2;
  return shards;
}

namespace {

std::vector<std::vector<Unit>> deal_prepared(const Shards& shards, StreamRange streams, uint64_t key, int64_t& dealt) {
  std::vector<Unit> units;
  for (size_t file = 0; file < shards.files.size(); ++file)
    for (int64_t first = 0; first < shards.records[file]; first += shards.run)
      units.push_back(
          {shards.files[file], first, 1, nullptr, std::min(shards.run, shards.records[file] - first), shards.prepared});
  std::vector<std::vector<Unit>> hands(static_cast<size_t>(streams.end - streams.begin));
  for (const int64_t unit : permutation(std::ssize(units), key)) {
    const int64_t stream = dealt++ % streams.of;
    if (stream >= streams.begin && stream < streams.end) hands[stream - streams.begin].push_back(units[unit]);
  }
  return hands;
}

}  // namespace

std::vector<std::vector<Unit>> deal(const Shards& shards, Format format, StreamRange streams, uint64_t key,
                                    int64_t& dealt) {
  if (shards.prepared) return deal_prepared(shards, streams, key, dealt);
  const int64_t own = streams.end - streams.begin, all = streams.of;
  std::vector<std::vector<Unit>> hands(static_cast<size_t>(own));
  if (shards.whole) {
    for (const int64_t file : permutation(std::ssize(shards.files), key)) {
      const int64_t stream = dealt++ % all;
      if (stream >= streams.begin && stream < streams.end)
        hands[stream - streams.begin].push_back({shards.files[file], 0, 1, nullptr, 0, nullptr, shards.bytes[file]});
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
        hands[stream - streams.begin].push_back(
            {shards.files[file], first_of(stream), all, scan, 0, nullptr, shards.bytes[file]});
    dealt += shards.records.empty() ? all : shards.records[file];
  }
  return hands;
}

}  // namespace lmnet
