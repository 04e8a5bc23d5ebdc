#include "trainer/validation.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "data/errors.h"
#include "trainer/batch.h"
#include "trainer/run/data.h"
#include "trainer/sources.h"

namespace lmnet {

Validation::Validation(const Config& config, const Tokenizer& tokenizer, Mesh& mesh)
    : mesh_(mesh), rows_(config.train.micro_batch), length_(config.data.sequence_length + 1) {
  std::vector<Source> all = sources(config.data, config.data.validation);
  for (const Source& source : all) {
    names_.push_back(source.name.empty() ? source.path.text() : source.name);
    std::vector<TokenBatch>& mine = batches_.emplace_back();
    if (mesh.vp_rank != 0) continue;
    std::vector<TokenBatch> whole = validation_batches({source}, tokenizer, row_shape(config), rows_,
                                                       config.evaluate.batches * mesh.dp_size, &skipped_);
    for (size_t i = mesh.dp_rank; i < whole.size(); i += mesh.dp_size) mine.push_back(std::move(whole[i]));
  }
}

std::optional<ValidationResult> Validation::run(Engine& engine, const std::function<bool()>& broken_off,
                                                const Advance& advance) {
  ValidationResult result;
  LossSum all;
  // Every rank makes as many calls as the replica with most batches, and knows each batch's number of rows.
  at::Tensor calls = at::zeros({static_cast<int64_t>(names_.size())}, at::kLong);
  for (size_t s = 0; s < names_.size(); ++s) calls[static_cast<int64_t>(s)] = static_cast<int64_t>(batches_[s].size());
  mesh_.world->all_reduce(calls, Reduction::max);
  const int64_t all_calls = calls.sum().item<int64_t>();
  int64_t done = 0;
  for (size_t s = 0; s < names_.size(); ++s) {
    LossSum sum;
    for (int64_t i = 0; i < calls[static_cast<int64_t>(s)].item<int64_t>(); ++i) {
      if (broken_off()) return std::nullopt;
      TokenBatch batch;
      if (i < static_cast<int64_t>(batches_[s].size())) batch = batches_[s][i];
      at::Tensor rows = at::full({1}, batch.rows, at::kLong);
      mesh_.vertex->broadcast(rows, 0);
      batch.length = length_;
      share_batch(batch, rows.item<int64_t>(), length_, *mesh_.vertex);
      LossSum part = engine.loss(to_sequence(batch));
      sum.loss += part.loss;
      sum.targets += part.targets;
      if (advance) advance(++done, all_calls);
    }
    result.by_source[names_[s]] = sum.loss / static_cast<double>(std::max<int64_t>(1, sum.targets));
    all.loss += sum.loss;
    all.targets += sum.targets;
  }
  result.loss = all.loss / static_cast<double>(std::max<int64_t>(1, all.targets));
  return result;
}

}  // namespace lmnet
