#include "trainer/generation/decoder.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "data/errors.h"
#include "model/graph/errors.h"
#include "trainer/checkpoint/errors.h"

namespace lmnet {

Decoder::Decoder(Engine& engine, const std::vector<std::vector<int32_t>>& prompts, int64_t room)
    : engine_(engine), cache_(0, 0) {
  for (const auto& prompt : prompts) {
    length_.push_back(static_cast<int64_t>(prompt.size()));
    check_room(engine.network().shape(), length_.back(), room);
  }
  const int64_t capacity = *std::ranges::max_element(length_) + room;
  std::vector<Cache> caches;
  std::vector<at::Tensor> last;
  for (const auto& prompt : prompts) {
    const at::Tensor tokens = at::tensor(std::vector<int64_t>(prompt.begin(), prompt.end()), at::kLong).unsqueeze(0);
    last.push_back(engine.hidden({tokens, {}, {}}, caches.emplace_back(1, capacity)).select(1, tokens.size(1) - 1));
  }
  cache_ = Cache::together(std::move(caches));
  read_out(at::cat(last));
}

void Decoder::read_out(const at::Tensor& hidden) {
  logits_ = engine_.logits(hidden);
  if (!logits_.isfinite().all().item<bool>())
    throw CheckpointError("the network gives numbers that are not finite; take an earlier checkpoint");
}

void Decoder::step(std::span<const int32_t> tokens) {
  const at::Tensor column = at::tensor(std::vector<int64_t>(tokens.begin(), tokens.end()), at::kLong).unsqueeze(1);
  read_out(engine_.hidden({column, {}, {}, length_}, cache_).select(1, 0));
  for (int64_t& length : length_) ++length;
}

void Decoder::select(const std::vector<int64_t>& rows) {
  std::vector<int64_t> same(length_.size()), length;
  std::iota(same.begin(), same.end(), 0);
  if (rows == same) return;
  cache_.select(rows);
  logits_ = logits_.index_select(0, at::tensor(rows, at::kLong));
  for (const int64_t row : rows) length.push_back(length_[row]);
  length_ = std::move(length);
}

void require_language_head(const NetworkShape& shape) {
  if (shape.classes > 0)
    throw ConfigError(
        fmt::format("this network tells {} classes apart: it has no language head, which reading and continuing texts "
                    "needs; name a checkpoint with model.classes 0",
                    shape.classes));
}

void check_room(const NetworkShape& shape, int64_t prompt, int64_t room) {
  require_language_head(shape);
  const BackboneConfig& b = shape.backbone;
  if (const auto longest = shape.longest(); b.gpt2() && longest && prompt + room - 1 > *longest)
    throw DataError(
        fmt::format("a prompt of {} tokens{} and {} new ones do not fit into the {} positions of this {} "
                    "network: shorten the prompt or lower --max-new-tokens",
                    prompt, shape.prefix > 0 ? fmt::format(" (after a prefix of {})", shape.prefix) : "", room,
                    b.positions, to_string(b.family)));
}

}  // namespace lmnet
