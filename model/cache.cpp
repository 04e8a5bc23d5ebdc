#include "model/cache.h"

#include <ATen/ATen.h>

#include <numeric>
#include <utility>

namespace lmnet {

Cache Cache::together(std::vector<Cache> parts) {
  if (parts.size() == 1) return std::move(parts.front());
  Cache whole(0, parts.front().capacity_);
  for (const Cache& part : parts) whole.rows_ += part.rows_;
  const auto join = [&](const auto& slots_of) {
    std::vector<at::Tensor> by_row;
    for (Cache& part : parts) {
      at::Tensor slots = std::exchange(slots_of(part), {});
      if (!slots.defined()) return at::Tensor();
      by_row.push_back(slots.view({-1, part.rows_, slots.size(1), slots.size(2), slots.size(3)}));
    }
    return at::cat(by_row, 1).flatten(0, 1);
  };
  for (const auto& [place, blocks] : parts.front().places_)
    for (size_t b = 0; b < blocks.size(); ++b) {
      const auto block = [&, at = place](Cache& part) -> KeyValues& { return part.places_.at(at)[b]; };
      whole.places_[place].push_back({join([&](Cache& part) -> at::Tensor& { return block(part).keys; }),
                                      join([&](Cache& part) -> at::Tensor& { return block(part).values; })});
    }
  return whole;
}

void Cache::select(const std::vector<int64_t>& rows) {
  std::vector<int64_t> same(rows_);
  std::iota(same.begin(), same.end(), 0);
  if (rows == same) return;
  const at::Tensor index = at::tensor(rows, at::kLong);
  const auto take = [&](at::Tensor& slots) {
    if (!slots.defined()) return;
    const at::Tensor by_row = slots.view({-1, rows_, slots.size(1), slots.size(2), slots.size(3)});
    slots = by_row.index_select(1, index.to(slots.device())).flatten(0, 1);
  };
  for (auto& [place, blocks] : places_)
    for (KeyValues& block : blocks) {
      take(block.keys);
      take(block.values);
    }
  rows_ = static_cast<int64_t>(rows.size());
}

int64_t Cache::bytes() const {
  int64_t total = 0;
  for (const auto& [place, blocks] : places_)
    for (const KeyValues& block : blocks)
      for (const at::Tensor& slots : {block.keys, block.values})
        if (slots.defined()) total += static_cast<int64_t>(slots.nbytes());
  return total;
}

}  // namespace lmnet
