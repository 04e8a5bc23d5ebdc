#include "data/prepare.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "data/errors.h"
#include "data/format_spec.h"
#include "data/shard_series.h"
#include "data/shuffle.h"
#include "data/token_shard.h"

namespace lmnet {
namespace {

namespace fs = std::filesystem;

/// Of a file's name, size and both ends.
uint64_t file_hash(const fs::path& file, int64_t bytes) {
  std::array<char, 4096> piece{};
  uint64_t hash = hash_of({hash_of(file.filename().string()), static_cast<uint64_t>(bytes)});
  std::ifstream in(file, std::ios::binary);
  for (const int64_t from : {int64_t{0}, std::max<int64_t>(0, bytes - std::ssize(piece))}) {
    in.clear();
    in.seekg(from);
    in.read(piece.data(), piece.size());
    hash = hash_of({hash, hash_of(std::string_view(piece.data(), static_cast<size_t>(in.gcount())))});
  }
  return hash;
}

void list_skipped(const Preparation& preparation, const std::vector<SkippedRecord>& skipped) {
  if (skipped.empty()) return;
  const fs::path file = preparation.out / "skipped.jsonl";
  std::ofstream out(file);
  for (const SkippedRecord& bad : skipped) out << json_line(bad);
  if (!out.flush()) throw DataError(fmt::format("{}: cannot be written: {}", file.string(), std::strerror(errno)));
  const int64_t limit = preparation.format.bad_records().value_or(0);
  if (std::ssize(skipped) > limit)
    throw DataError(fmt::format("{} bad records were passed over, data.bad_record_limit is {}; they are listed in {}",
                                skipped.size(), limit, file.string()));
}

}  // namespace

Preparation::Preparation(std::vector<fs::path> of_files, Format of_format, const Tokenizer& of_tokenizer, fs::path to)
    : files(std::move(of_files)), format(std::move(of_format)), tokenizer(&of_tokenizer), out(std::move(to)) {
  uint64_t hash = hash_of({format.hash(), hash_of(tokenizer->hash())});
  for (const fs::path& file : files) {
    std::error_code error;
    const auto bytes = static_cast<int64_t>(fs::file_size(file, error));
    if (error) throw DataError(fmt::format("{}: cannot be opened: {}", file.string(), error.message()));
    index.inputs.push_back({file.filename().string(), bytes});
    hash = hash_of({hash, file_hash(file, bytes)});
  }
  index.fingerprint = fmt::format("{:016x}", hash);
  index.format = format.spec().name;
  index.masks = format.masks();
  index.tokenizer = tokenizer->name();
  index.tokenizer_hash = tokenizer->hash();
  index.vocabulary = tokenizer->vocabulary();
}

void begin_preparation(const Preparation& preparation) {
  const fs::path& out = preparation.out;
  std::error_code error;
  fs::create_directories(out, error);
  if (!fs::is_directory(out)) throw DataError(fmt::format("{}: cannot be made: {}", out.string(), error.message()));
  if (TokenIndex::is_in(out)) {
    if (TokenIndex::read(out).fingerprint == preparation.index.fingerprint) return;
    throw DataError(
        fmt::format("{}: holds data prepared from other files, or in another format, or by another tokenizer; give "
                    "another folder, or remove it",
                    out.string()));
  }
  if (!fs::is_empty(out)) throw DataError(fmt::format("{}: is not empty; give a new folder", out.string()));
  preparation.index.write(out);
}

TokenIndex finish_preparation(const Preparation& preparation) {
  TokenIndex index = preparation.index;
  std::vector<SkippedRecord> skipped;
  for (int64_t file = 0; file < std::ssize(preparation.files); ++file)
    for (int64_t number = 0, last = false; !last; ++number) {
      const fs::path path = preparation.out / ShardSeries::shard_name(file, number);
      const TokenShardReader reader(path);
      const TokenShard& shard = reader.shard();
      if (shard.fingerprint != index.fingerprint || shard.input != file || shard.number != number)
        throw DataError(fmt::format("{}: belongs to other data; remove it and prepare again", path.string()));
      last = shard.last;
      for (SkippedRecord& record : reader.skipped()) {
        record.file = preparation.files[file];
        skipped.push_back(std::move(record));
      }
      if (shard.counts.documents > 0)
        index.shards.push_back({path.filename().string(), static_cast<int64_t>(fs::file_size(path)), shard.counts});
    }
  list_skipped(preparation, skipped);
  index.complete = true;
  index.write(preparation.out);
  return index;
}

}  // namespace lmnet
