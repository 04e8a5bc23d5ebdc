#include "data/loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "data/errors.h"
#include "data/row_queues.h"
#include "data/shuffle.h"
#include "data/token_index.h"

namespace lmnet {
namespace {

void check(const std::vector<Source>& sources, const LoaderOptions& options, int rank, int ranks) {
  const auto require = [](bool holds, const std::string& sentence) {
    if (!holds) throw DataError(sentence);
  };
  require(!sources.empty(), "there is no training data: data.train names no source");
  for (const Source& source : sources) {
    require(std::isfinite(source.weight) && source.weight > 0,
            fmt::format("{}: the weight {} must be above 0", source.path.text(), source.weight));
  }
  require(options.sequence_length > 0, fmt::format("sequence_length {} must be at least 1", options.sequence_length));
  require(options.global_batch > 0, fmt::format("global_batch {} must be at least 1", options.global_batch));
  require(options.streams > 0 && options.global_batch % options.streams == 0,
          fmt::format("streams {} must divide global_batch {}", options.streams, options.global_batch));
  require(ranks > 0 && rank >= 0 && rank < ranks, fmt::format("rank {} is not one of {}", rank, ranks));
  require(options.streams % ranks == 0,
          fmt::format("the {} data-parallel ranks must divide the {} streams of the run", ranks, options.streams));
}

uint64_t options_hash(const LoaderOptions& options, const Tokenizer& tokenizer) {
  const uint64_t packing = (options.packing ? 1u : 0u) | (options.documents ? 2u : 0u);
  return hash_of({options.seed, static_cast<uint64_t>(options.sequence_length), packing,
                  static_cast<uint64_t>(options.streams), hash_of(tokenizer.hash())});
}

/// Of what fixes how the source is dealt. By file name without its folder: data may be moved between two starts of a
/// run. Not by the files' sizes: one that was damaged may be replaced, which RecordWalk looks at where it was read.
uint64_t source_hash(uint64_t hash, const Source& source, const Shards& shards) {
  hash = hash_of({hash, std::bit_cast<uint64_t>(source.weight), source.format.hash(),
                  static_cast<uint64_t>(source.epochs.value_or(0)), static_cast<uint64_t>(source.tokens.value_or(0)),
                  shards.files.size(), shards.whole ? 1u : 0u, shards.prepared ? hash_of(*shards.prepared) : 0});
  for (size_t i = 0; i < shards.files.size(); ++i)
    hash = hash_of({hash, hash_of(shards.files[i].filename().string()),
                    shards.records.empty() ? 0 : static_cast<uint64_t>(shards.records[i])});
  return hash;
}

/// Text of one stream's blocks: what all streams hold at once stays about the same, however many there are.
size_t block_bytes(int64_t streams, size_t sources) {
  constexpr size_t all = 32 << 20, least = 16 << 10, most = 1 << 20;
  return std::clamp(all / (static_cast<size_t>(streams) * sources), least, most);
}

/// Rows that wait: of several updates, in bounded memory.
Readahead readahead(const LoaderOptions& options, int64_t own_streams) {
  constexpr int64_t memory = 24 << 20, most_updates = 32;
  const int64_t rows = options.global_batch / options.streams;
  const int64_t bytes = own_streams * rows * (options.sequence_length + 1) * 5;
  return {options.readers, rows, rows * std::clamp<int64_t>(memory / bytes, 2, most_updates)};
}

}  // namespace

struct Loader::Impl {
  LoaderOptions options;
  int64_t first = 0;  // of this rank's streams
  std::string fingerprint;
  RowQueues queues;
};

namespace {

/// The streams of this rank, and what names the data and options that fix their order.
std::pair<std::vector<Stream>, std::string> make_streams(const std::vector<Source>& sources, const Tokenizer& tokenizer,
                                                         const LoaderOptions& options, StreamRange range) {
  std::vector<std::vector<SourceShare>> shares(static_cast<size_t>(range.end - range.begin));
  uint64_t fingerprint = options_hash(options, tokenizer);
  int64_t dealt = 0;
  bool counted = true;
  for (size_t s = 0; s < sources.size(); ++s) {
    const Source& source = sources[s];
    const Shards shards = source.format.prepared()
                              ? find_prepared_shards(TokenIndex::folder_of(source.path), tokenizer, range.of)
                              : find_shards(expand(source.path), source.format, range.of);
    counted = counted && !shards.records.empty();
    fingerprint = source_hash(fingerprint, source, shards);
    const uint64_t key = hash_of({options.seed, s});
    auto units = deal(shards, source.format, range, key, dealt);
    for (size_t i = 0; i < shares.size(); ++i) {
      WalkOrder order;
      order.blocks = hash_of({options.seed, static_cast<uint64_t>(range.begin) + i, s});
      const bool shares_files = !shards.whole && !shards.prepared;
      order.units = shares_files ? key : order.blocks;
      order.block_bytes = block_bytes(range.of, sources.size());
      if (source.epochs) order.epochs = *source.epochs;
      SourceShare& share =
          shares[i].emplace_back(SourceShare{RecordWalk(std::move(units[i]), source.format, order), source.weight});
      if (source.tokens) share.most_tokens = (*source.tokens + range.of - 1) / range.of;
    }
  }
  if (counted && dealt < range.of) {
    throw DataError(
        fmt::format("{}: the training data holds {} record{} for {} streams; lower data.streams (or "
                    "train.global_batch) to at most {}, or add data",
                    sources.front().path.text(), dealt, dealt == 1 ? "" : "s", range.of, dealt));
  }
  std::vector<Stream> streams;
  for (auto& of_stream : shares)
    streams.emplace_back(std::move(of_stream), tokenizer,
                         RowShape{options.sequence_length + 1, options.packing, options.documents});
  return {std::move(streams), fmt::format("{:016x}", fingerprint)};
}

}  // namespace

int64_t default_streams(int64_t global_batch, int data_parallel) {
  constexpr int64_t most = 1024;
  if (global_batch < 1 || data_parallel < 1 || global_batch % data_parallel != 0) {
    throw DataError(
        fmt::format("the {} data-parallel ranks must divide train.global_batch {}", data_parallel, global_batch));
  }
  if (global_batch <= most) return global_batch;
  for (int64_t streams = most / data_parallel * data_parallel; streams > 0; streams -= data_parallel) {
    if (global_batch % streams == 0) return streams;
  }
  return data_parallel;  // more than 1024 ranks: one stream each
}

Loader::Loader(std::vector<Source> sources, const Tokenizer& tokenizer, LoaderOptions options, int rank, int ranks) {
  check(sources, options, rank, ranks);
  const int64_t own = options.streams / ranks;
  auto [streams, fingerprint] =
      make_streams(sources, tokenizer, options, {rank * own, (rank + 1) * own, options.streams});
  impl_.reset(new Impl{options, rank * own, fingerprint, {std::move(streams), readahead(options, own)}});
}

Loader::Loader(Loader&&) noexcept = default;
Loader& Loader::operator=(Loader&&) noexcept = default;
Loader::~Loader() = default;

TokenBatch Loader::next() {
  const LoaderOptions& options = impl_->options;
  RowQueues& queues = impl_->queues;
  TokenBatch batch;
  batch.length = options.sequence_length + 1;
  const auto cells = static_cast<size_t>(options.global_batch / options.streams * batch.length) * queues.size();
  batch.tokens.reserve(cells);
  batch.learn.reserve(cells);
  for (int64_t turn = 0; turn < options.global_batch; turn += options.streams) {
    for (size_t i = 0; i < queues.size(); ++i) {
      queues.append_row(i, batch);
      batch.positions.push_back(turn + impl_->first + static_cast<int64_t>(i));
    }
  }
  batch.rows = std::ssize(batch.positions);
  return batch;
}

std::vector<StreamState> Loader::state() const {
  std::vector<StreamState> states;
  for (size_t i = 0; i < impl_->queues.size(); ++i)
    states.push_back({impl_->first + static_cast<int64_t>(i), impl_->queues.position(i).json(impl_->fingerprint)});
  return states;
}

void Loader::restore(const std::vector<StreamState>& streams) {
  std::vector<const StreamState*> own(impl_->queues.size(), nullptr);
  for (const StreamState& state : streams) {
    const int64_t i = state.stream - impl_->first;
    if (i >= 0 && i < std::ssize(own)) own[i] = &state;
  }
  std::vector<StreamPosition> positions;
  for (const StreamState* state : own) {
    if (!state) {
      throw DataError(
          fmt::format("the stored data positions lack stream {} of {}; the run's number of streams is fixed",
                      impl_->first + std::ssize(positions), impl_->options.streams));
    }
    positions.push_back(StreamPosition::parse(state->position, impl_->fingerprint));
  }
  impl_->queues.go(positions);
}

std::vector<SkippedRecord> Loader::take_skipped() {
  return impl_->queues.take_skipped();
}

int64_t Loader::text_bytes() const {
  return impl_->queues.text_bytes();
}

uint64_t batch_hash(const TokenBatch& batch) {
  uint64_t sum = 0;
  for (int64_t row = 0; row < batch.rows; ++row) {
    uint64_t hash = hash_of({static_cast<uint64_t>(batch.positions[row])});
    for (int64_t i = row * batch.length; i < (row + 1) * batch.length; ++i) {
      const auto token = static_cast<uint32_t>(batch.tokens[i]);
      const uint64_t start = batch.starts.empty() ? 0 : batch.starts[i];
      hash = hash_step(hash, token | static_cast<uint64_t>(batch.learn[i]) << 32 | start << 33);
    }
    sum += hash;
  }
  return sum;
}

}  // namespace lmnet
