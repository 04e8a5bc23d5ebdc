#include "trainer/run/data.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "model/graph/errors.h"
#include "trainer/batch.h"
#include "trainer/sources.h"
#include "trainer/together.h"

namespace lmnet {

int64_t streams_of(const Config& config, const Mesh& mesh) {
  return config.data.streams.value_or(default_streams(config.train.global_batch, mesh.dp_size));
}

RowShape row_shape(const Config& config) {
  const DataConfig& data = config.data;
  const auto masked = [&] { return std::ranges::any_of(sources(data, data.train), masks); };
  const bool documents = data.documents ? *data.documents : config.model.prefix == 0 && masked();
  return {data.sequence_length + 1, data.packing, data.packing && documents};
}

LoaderOptions loader_options(const Config& config, int64_t streams) {
  const RowShape shape = row_shape(config);
  return {config.run.seed,           shape.length - 1, shape.packing,      shape.documents,
          config.train.global_batch, streams,          config.data.readers};
}

RunData::RunData(const Config& config, const Tokenizer& tokenizer, Mesh& mesh, int64_t streams,
                 const std::vector<StreamState>& positions)
    : mesh_(mesh), rows_(config.train.global_batch / mesh.dp_size), length_(config.data.sequence_length + 1) {
  together(*mesh.world, [&] {
    if (streams % mesh.dp_size != 0)
      throw ConfigError(
          fmt::format("{}: {} replicas do not divide the run's {} data streams", config.where, mesh.dp_size, streams));
    if (mesh.vp_rank != 0) return;
    loader_ = std::make_unique<Loader>(sources(config.data, config.data.train), tokenizer,
                                       loader_options(config, streams), mesh.dp_rank, mesh.dp_size);
    if (!positions.empty()) loader_->restore(positions);
  });
}

TokenBatch RunData::next() {
  TokenBatch batch;
  if (loader_) batch = loader_->next();
  share_batch(batch, rows_, length_, *mesh_.vertex);
  return batch;
}

uint64_t RunData::hash(const TokenBatch& batch) const {
  at::Tensor hash = at::full({1}, loader_ ? static_cast<int64_t>(batch_hash(batch)) : 0, at::kLong);
  mesh_.world->all_reduce(hash);
  return static_cast<uint64_t>(hash.item<int64_t>());
}

std::vector<SkippedRecord> RunData::take_skipped() {
  return loader_ ? loader_->take_skipped() : std::vector<SkippedRecord>();
}

std::vector<StreamState> RunData::positions() const {
  return loader_ ? loader_->state() : std::vector<StreamState>();
}

}  // namespace lmnet
