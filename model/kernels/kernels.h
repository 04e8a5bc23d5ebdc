#pragma once
// Fused operators of the transformer block on CPU, each differentiable once. Composite ATen would walk the memory five
// to eight times for what is one walk here. Tensors on another device go to composite.h, all of a call on the same one.
//
// All take bfloat16, float32 or float64 tensors; on CPU bfloat16 is computed in float32 and rounded once, float64 in
// float64. NaN and infinities go through as in ATen. Results do not depend on the number of threads. Wrong shapes,
// element types or devices throw c10::Error, as in ATen.

#include <ATen/core/Tensor.h>

#include <tuple>
#include <vector>

namespace lmnet {

// x / sqrt(mean(x^2) + eps) * weight, the mean over the last dimension, for E stacked modules.
// x: [E, M, D], copied if it is not contiguous. weight: [E, D], also of another type than x. Returns [E, M, D].
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);

// silu(gate) * up. gate_up: [..., 2F], gate in the first F columns, up in the last F. Returns [..., F].
at::Tensor swiglu(const at::Tensor& gate_up);

// Splits the fused projection into query, key and value heads and turns query and key by their positions (halves of a
// head are paired, as in Hugging Face): y = x * cos + cat(-x2, x1) * sin.
// qkv: [N, T, (H + 2G) * K]: H query heads, G key heads, G value heads, each of K columns (K even).
// cos, sin: [T, K], or [N, T, K] for positions of each sequence's own; float32 (float64 when qkv is float64).
// Returns q [N, H, T, K], k and v [N, G, T, K], each contiguous: scaled_dot_product_attention on CPU takes as long with
// this layout as with [N, T, H, K], and here the heads of several groups or sequences can be viewed as one batch.
// One backward pass writes the whole gradient of qkv, from gradients of any strides.
std::tuple<at::Tensor, at::Tensor, at::Tensor> qkv_rotary(const at::Tensor& qkv, const at::Tensor& cos,
                                                          const at::Tensor& sin, int64_t H, int64_t G, int64_t K);

// Cross entropy of each row, and its gradient in place of the logits. Not recorded by autograd.
// logits: [M, V], contiguous. With want_gradient they become scale * (softmax - onehot(target)) in rows where mask
//   holds and 0 in the others; without, they stay as they are.
// targets: int64 [M]; read, and checked to be in [0, V), only where mask holds. mask: bool [M].
// losses: [M], float32 (float64 when logits are float64), overwritten by -log softmax[target], 0 where mask does not
// hold.
// smoothing s: the loss becomes (1 - s) * -log softmax[target] + s * the mean of -log softmax over V.
void cross_entropy_inplace(at::Tensor& logits, const at::Tensor& targets, const at::Tensor& mask, double scale,
                           at::Tensor& losses, bool want_gradient, double smoothing = 0);

// Causal attention inside each document of rows that hold several.
// q: [N, H, T, K], k and v: [N, G, T, K]. documents: [N], where those of each item begin: 0, then ascending. Returns
// [N, T, H * K]. On CPU; bfloat16 products are added in float32.
at::Tensor document_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                              const std::vector<std::vector<int64_t>>& documents, double scale);

// The kernels of a generation's step, of one token a row: ATen's products and attention choose their order of additions
// by the number of rows and slots, these treat every row alike, so that none depends on its neighbours. No derivatives.

// Rows up to which linear_few_rows is hardly slower than ATen, if at all: reading the weights takes most of the time.
constexpr int64_t kFewRows = 64;

// x * weight^T + bias for E stacked modules. x: [E, M, in]. weight: [E, out, in], contiguous. bias: [E, out] or
// undefined. Returns [E, M, out].
at::Tensor linear_few_rows(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias = {});

// Attention of the one token of each item, whose key and value are put into their slot first, over the slots up to it.
// q: [N, H, 1, K], k and v: [N, G, 1, K]. keys, values: [N, G, slots, K], contiguous, changed in place. start: [R], the
// slot of the token of item n is start[n % R]. Returns [N, 1, H * K].
at::Tensor attend_step(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, at::Tensor& keys,
                       at::Tensor& values, at::IntArrayRef start, double scale);

}  // namespace lmnet
