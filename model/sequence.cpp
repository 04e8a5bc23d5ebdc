#include "model/sequence.h"

#include <ATen/ATen.h>

namespace lmnet {

Sequence Sequence::narrow(RowRange range) const {
  auto cut = [&](const at::Tensor& whole) {
    return whole.defined() ? whole.narrow(0, range.begin, range.size()) : at::Tensor();
  };
  return {cut(tokens), cut(targets), cut(learn)};
}

}  // namespace lmnet
