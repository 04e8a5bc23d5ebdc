#pragma once
#include <ATen/core/Tensor.h>

namespace lmnet {

/// What counts as the loss of a target.
struct LossRule {
  /// (1-s)·(-log p(target)) + s·mean over the vocabulary of -log p: uniform over all of it, the target included.
  double label_smoothing = 0;
  double epsilon = 0;  // added to the number of targets that the sum is divided by
};

/// The head's product and its cross entropy, without ever holding all logits (scheme of fused linear cross entropy).
struct HeadLoss {
  at::Tensor sum;              // Σ loss over the positions that count: fp64 scalar on the device of `hidden`
  at::Tensor hidden_gradient;  // scale · ∂sum/∂hidden, [M, D]; undefined unless asked for
};

/// hidden [M, D], weight [V, D], targets [M] int64, learn [M] bool. Adds scale · ∂sum/∂weight to `weight_gradient`
/// (fp32 or fp64 [V, D]) where that is defined.
HeadLoss head_loss(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets,
                   const at::Tensor& learn, double scale, bool want_gradient, at::Tensor weight_gradient = {},
                   double label_smoothing = 0);

}  // namespace lmnet
