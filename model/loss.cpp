#include "model/loss.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "model/kernels/kernels.h"

namespace lmnet {
namespace {

/// Logits held at once: 4 Mi elements stay near a CPU's caches and keep the products large, a GPU has more to fill.
int64_t chunk_elements(const at::Tensor& hidden) {
  return int64_t{hidden.is_cpu() ? 4 : 64} << 20;
}

}  // namespace

HeadLoss head_loss(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets,
                   const at::Tensor& learn, double scale, bool want_gradient, at::Tensor weight_gradient,
                   double label_smoothing) {
  at::NoGradGuard no_grad;
  int64_t positions = hidden.size(0), chunk = std::max<int64_t>(64, chunk_elements(hidden) / weight.size(0));
  HeadLoss result{at::zeros({}, hidden.options().dtype(at::kDouble)), {}};
  if (want_gradient) result.hidden_gradient = at::empty_like(hidden);
  for (int64_t begin = 0; begin < positions; begin += chunk) {
    int64_t size = std::min(chunk, positions - begin);
    at::Tensor h = hidden.narrow(0, begin, size);
    at::Tensor logits = at::linear(h, weight);
    at::Tensor losses =
        at::empty({size}, logits.options().dtype(logits.scalar_type() == at::kDouble ? at::kDouble : at::kFloat));
    cross_entropy_inplace(logits, targets.narrow(0, begin, size).contiguous(),
                          learn.narrow(0, begin, size).contiguous(), scale, losses, want_gradient, label_smoothing);
    result.sum.add_(losses.sum(at::kDouble));
    if (!want_gradient) continue;
    at::Tensor gradient = result.hidden_gradient.narrow(0, begin, size);
    at::mm_out(gradient, logits, weight);
    if (weight_gradient.defined()) weight_gradient.add_(at::mm(logits.t(), h));
  }
  return result;
}

}  // namespace lmnet
