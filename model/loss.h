#pragma once
#include <ATen/core/Tensor.h>

namespace lmnet {

/// The head's product and its cross entropy, without ever holding all logits (scheme of fused linear cross entropy).
struct HeadLoss {
  double sum = 0;              // Σ -log p(target) over the positions that count
  at::Tensor hidden_gradient;  // scale · ∂sum/∂hidden, [M, D]; undefined unless asked for
};

/// hidden [M, D], weight [V, D], targets [M] int64, learn [M] bool. Adds scale · ∂sum/∂weight to `weight_gradient`
/// (fp32 or fp64 [V, D]) where that is defined.
HeadLoss head_loss(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets,
                   const at::Tensor& learn, double scale, bool want_gradient, at::Tensor weight_gradient = {});

}  // namespace lmnet
