#include "model/sequence.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace lmnet {

Sequence Sequence::narrow(RowRange range) const {
  auto cut = [&](const at::Tensor& whole) {
    return whole.defined() ? whole.narrow(0, range.begin, range.size()) : at::Tensor();
  };
  Sequence part{cut(tokens), cut(targets), cut(learn)};
  if (!start.empty()) part.start.assign(start.begin() + range.begin, start.begin() + range.end);
  if (!lengths.empty()) part.lengths.assign(lengths.begin() + range.begin, lengths.begin() + range.end);
  if (!documents.empty()) part.documents.assign(documents.begin() + range.begin, documents.begin() + range.end);
  return part;
}

Sequence Sequence::to(at::Device device) const {
  const auto move = [&](const at::Tensor& tensor) {
    return tensor.defined() ? tensor.to(device, /*non_blocking=*/true) : tensor;
  };
  return {move(tokens), move(targets), move(learn), start, lengths, documents};
}

at::Tensor document_ids(const DocumentStarts& documents, int64_t length, at::Device device) {
  at::Tensor ids = at::empty({std::ssize(documents), length}, at::kLong);
  int64_t* id = ids.data_ptr<int64_t>();
  for (const std::vector<int64_t>& starts : documents)
    for (size_t i = 0; i < starts.size(); ++i)
      id = std::fill_n(id, (i + 1 < starts.size() ? starts[i + 1] : length) - starts[i], static_cast<int64_t>(i));
  return ids.to(device);
}

}  // namespace lmnet
