#include "trainer/batch.h"

#include <ATen/ATen.h>

namespace lmnet {

Sequence to_sequence(const TokenBatch& batch) {
  auto tokens =
      at::from_blob(const_cast<int32_t*>(batch.tokens.data()), {batch.rows, batch.length}, at::kInt).to(at::kLong);
  auto learn =
      at::from_blob(const_cast<uint8_t*>(batch.learn.data()), {batch.rows, batch.length}, at::kByte).to(at::kBool);
  int64_t length = batch.length - 1;
  return {tokens.narrow(1, 0, length).contiguous(), tokens.narrow(1, 1, length).contiguous(),
          learn.narrow(1, 1, length).contiguous()};
}

void share_batch(TokenBatch& batch, int64_t rows, int64_t length, Communicator& vertex) {
  if (vertex.size() == 1) return;
  at::Tensor packed = at::empty({rows * length}, at::kLong);  // token · 2 + whether it is learnt
  auto* word = packed.data_ptr<int64_t>();
  if (vertex.rank() == 0)
    for (int64_t i = 0; i < rows * length; ++i) word[i] = int64_t{batch.tokens[i]} * 2 + batch.learn[i];
  vertex.broadcast(packed, 0);
  if (vertex.rank() == 0) return;
  batch.rows = rows;
  batch.length = length;
  batch.tokens.resize(rows * length);
  batch.learn.resize(rows * length);
  for (int64_t i = 0; i < rows * length; ++i) {
    batch.tokens[i] = static_cast<int32_t>(word[i] >> 1);
    batch.learn[i] = static_cast<uint8_t>(word[i] & 1);
  }
}

}  // namespace lmnet
