#include "data/loader.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>

#include "data/errors.h"
#include "data/shuffle.h"
#include "data/stream.h"

namespace lmnet {
namespace {

void check(const std::vector<Source>& sources, const LoaderOptions& options, int rank, int ranks) {
  const auto require = [](bool holds, const std::string& sentence) {
    if (!holds) throw DataError(sentence);
  };
  require(!sources.empty(), "there is no training data: data.train names no source");
  for (const Source& source : sources) {
    require(std::isfinite(source.weight) && source.weight > 0,
            fmt::format("{}: the weight {} must be above 0", source.path, source.weight));
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
  return hash_of({options.seed, static_cast<uint64_t>(options.sequence_length), options.packing ? 1u : 0u,
                  static_cast<uint64_t>(options.streams), hash_of(tokenizer.hash())});
}

/// By file name without its folder: data may be moved between two starts of a run.
uint64_t source_hash(uint64_t hash, const Source& source, const std::vector<Unit>& units) {
  hash = hash_of({hash, std::bit_cast<uint64_t>(source.weight), static_cast<uint64_t>(source.format), units.size()});
  for (const Unit& unit : units) {
    hash = hash_of({hash, hash_of(unit.file.filename().string()), static_cast<uint64_t>(unit.start.record),
                    static_cast<uint64_t>(unit.count)});
  }
  return hash;
}

}  // namespace

struct Loader::Impl {
  Impl(std::vector<Source> sources, const Tokenizer& tokenizer, LoaderOptions given, int rank, int ranks);

  LoaderOptions options;
  int64_t first = 0;  // of this rank's streams
  std::vector<Stream> streams;
};

Loader::Impl::Impl(std::vector<Source> sources, const Tokenizer& tokenizer, LoaderOptions given, int rank, int ranks)
    : options(given) {
  check(sources, options, rank, ranks);
  const int64_t own = options.streams / ranks;
  first = rank * own;
  std::vector<std::vector<SourceShare>> shares(static_cast<size_t>(own));
  uint64_t fingerprint = options_hash(options, tokenizer);
  int64_t dealt = 0;
  for (size_t s = 0; s < sources.size(); ++s) {
    const std::vector<Unit> units = make_units(expand(sources[s].path), sources[s].format, options.streams);
    fingerprint = source_hash(fingerprint, sources[s], units);
    std::vector<std::vector<Unit>> hands(static_cast<size_t>(own));
    // Each source goes on where the one before stopped, so that small ones reach different streams.
    for (const int64_t unit : permutation(static_cast<int64_t>(units.size()), hash_of({options.seed, s}))) {
      const int64_t hand = dealt++ % options.streams - first;
      if (hand >= 0 && hand < own) hands[hand].push_back(units[unit]);
    }
    for (int64_t i = 0; i < own; ++i) {
      const uint64_t key = hash_of({options.seed, static_cast<uint64_t>(first + i), s});
      shares[i].push_back({RecordWalk(std::move(hands[i]), sources[s].format, key), sources[s].weight, 0});
    }
  }
  if (dealt < options.streams) {
    throw DataError(
        fmt::format("{}: the training data holds {} records for {} streams; lower data.streams (or "
                    "train.global_batch) to at most {}, or add data",
                    sources.front().path, dealt, options.streams, dealt));
  }
  const RowShape shape{options.sequence_length + 1, options.packing};
  for (auto& of_stream : shares) {
    streams.emplace_back(std::move(of_stream), tokenizer, shape, fmt::format("{:016x}", fingerprint));
  }
}

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

Loader::Loader(std::vector<Source> sources, const Tokenizer& tokenizer, LoaderOptions options, int rank, int ranks)
    : impl_(std::make_unique<Impl>(std::move(sources), tokenizer, options, rank, ranks)) {}

Loader::Loader(Loader&&) noexcept = default;
Loader& Loader::operator=(Loader&&) noexcept = default;
Loader::~Loader() = default;

TokenBatch Loader::next() {
  TokenBatch batch;
  batch.length = impl_->options.sequence_length + 1;
  const int64_t own = static_cast<int64_t>(impl_->streams.size());
  for (int64_t turn = 0; turn < impl_->options.global_batch; turn += impl_->options.streams) {
    for (int64_t i = 0; i < own; ++i) {
      impl_->streams[i].append_row(batch);
      batch.positions.push_back(turn + impl_->first + i);
    }
  }
  batch.rows = static_cast<int64_t>(batch.positions.size());
  return batch;
}

std::vector<StreamState> Loader::state() const {
  std::vector<StreamState> states;
  for (const Stream& stream : impl_->streams) {
    states.push_back({impl_->first + static_cast<int64_t>(states.size()), stream.position()});
  }
  return states;
}

void Loader::restore(const std::vector<StreamState>& streams) {
  std::vector<const StreamState*> own(impl_->streams.size(), nullptr);
  for (const StreamState& state : streams) {
    const int64_t i = state.stream - impl_->first;
    if (i >= 0 && i < static_cast<int64_t>(own.size())) own[i] = &state;
  }
  for (size_t i = 0; i < own.size(); ++i) {
    if (!own[i]) {
      throw DataError(
          fmt::format("the stored data positions lack stream {} of {}; the run's number of streams is fixed",
                      impl_->first + static_cast<int64_t>(i), impl_->options.streams));
    }
    impl_->streams[i].restore(own[i]->position);
  }
}

uint64_t batch_hash(const TokenBatch& batch) {
  uint64_t sum = 0;
  for (int64_t row = 0; row < batch.rows; ++row) {
    uint64_t hash = hash_of({static_cast<uint64_t>(batch.positions[row])});
    for (int64_t i = row * batch.length; i < (row + 1) * batch.length; ++i) {
      const auto token = static_cast<uint32_t>(batch.tokens[i]);
      hash = hash_step(hash, token | static_cast<uint64_t>(batch.learn[i]) << 32);
    }
    sum += hash;
  }
  return sum;
}

}  // namespace lmnet
