#include "parallel/pieces.h"

#include <ATen/ATen.h>

namespace lmnet {

at::Tensor piece_of(const at::Tensor& flat, int64_t parts, int64_t part) {
  const int64_t begin = piece_begin(flat.numel(), parts, part);
  return flat.narrow(0, begin, piece_begin(flat.numel(), parts, part + 1) - begin);
}

void reduce_in_order(std::span<const at::Tensor> terms, Reduction reduction, at::Tensor result) {
  const bool widen = reduction == Reduction::sum && result.scalar_type() == at::kBFloat16;
  at::Tensor total = widen ? terms.front().to(at::kFloat) : result.copy_(terms.front());
  for (const at::Tensor& term : terms.subspan(1)) {
    switch (reduction) {
      case Reduction::sum:
        total.add_(term);
        break;
      case Reduction::max:
        at::maximum_out(total, total, term);
        break;
      case Reduction::min:
        at::minimum_out(total, total, term);
        break;
    }
  }
  if (widen) {
    result.copy_(total);
  }
}

}  // namespace lmnet
