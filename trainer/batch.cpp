#include "trainer/batch.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace lmnet {

namespace {

DocumentStarts documents_of(const TokenBatch& batch) {
  DocumentStarts documents(batch.starts.empty() ? 0 : batch.rows, {0});
  for (size_t row = 0; row < documents.size(); ++row) {
    const uint8_t* starts = batch.starts.data() + static_cast<int64_t>(row) * batch.length;
    for (int64_t i = 1; i < batch.length - 1; ++i)
      if (starts[i]) documents[row].push_back(i);
  }
  return documents;
}

}  // namespace

Sequence to_sequence(const TokenBatch& batch) {
  auto tokens =
      at::from_blob(const_cast<int32_t*>(batch.tokens.data()), {batch.rows, batch.length}, at::kInt).to(at::kLong);
  auto learn =
      at::from_blob(const_cast<uint8_t*>(batch.learn.data()), {batch.rows, batch.length}, at::kByte).to(at::kBool);
  int64_t length = batch.length - 1;
  Sequence sequence{tokens.narrow(1, 0, length).contiguous(), tokens.narrow(1, 1, length).contiguous(),
                    learn.narrow(1, 1, length).contiguous()};
  sequence.documents = documents_of(batch);
  return sequence;
}

void share_batch(TokenBatch& batch, int64_t rows, int64_t length, Communicator& vertex) {
  if (vertex.size() == 1) return;
  at::Tensor packed =
      at::empty({rows * length}, at::kLong);  // token · 4, whether a document begins, whether it is learnt
  auto* word = packed.data_ptr<int64_t>();
  if (vertex.rank() == 0)
    for (int64_t i = 0; i < rows * length; ++i)
      word[i] = int64_t{batch.tokens[i]} * 4 + (batch.starts.empty() ? 0 : batch.starts[i] * 2) + batch.learn[i];
  vertex.broadcast(packed, 0);
  if (vertex.rank() == 0) return;
  batch.rows = rows;
  batch.length = length;
  batch.tokens.resize(rows * length);
  batch.learn.resize(rows * length);
  batch.starts.assign(rows * length, 0);
  for (int64_t i = 0; i < rows * length; ++i) {
    batch.tokens[i] = static_cast<int32_t>(word[i] >> 2);
    batch.starts[i] = static_cast<uint8_t>(word[i] >> 1 & 1);
    batch.learn[i] = static_cast<uint8_t>(word[i] & 1);
  }
  if (std::ranges::find(batch.starts, 1) == batch.starts.end()) batch.starts.clear();  // rows of one document each
}

}  // namespace lmnet
