#include "model/sequence.h"

#include <ATen/ATen.h>

namespace lmnet {

Sequence Sequence::narrow(RowRange range) const {
  auto cut = [&](const at::Tensor& whole) {
    return whole.defined() ? whole.narrow(0, range.begin, range.size()) : at::Tensor();
  };
  Sequence part{cut(tokens), cut(targets), cut(learn)};
  if (!start.empty()) part.start.assign(start.begin() + range.begin, start.begin() + range.end);
  if (!lengths.empty()) part.lengths.assign(lengths.begin() + range.begin, lengths.begin() + range.end);
  return part;
}

Sequence Sequence::to(at::Device device) const {
  const auto move = [&](const at::Tensor& tensor) {
    return tensor.defined() ? tensor.to(device, /*non_blocking=*/true) : tensor;
  };
  return {move(tokens), move(targets), move(learn), start, lengths};
}

}  // namespace lmnet
