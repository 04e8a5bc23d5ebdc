#pragma once
// The operators of kernels.h put together from ATen's, for tensors on any device; ATen's own derivatives. What
// kernels.h says of shapes and types holds, what it says of rounding, threads and neighbours does not.

#include <ATen/core/Tensor.h>

#include <tuple>

namespace lmnet::composite {

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);
at::Tensor swiglu(const at::Tensor& gate_up);
std::tuple<at::Tensor, at::Tensor, at::Tensor> qkv_rotary(const at::Tensor& qkv, const at::Tensor& cos,
                                                          const at::Tensor& sin, int64_t H, int64_t G, int64_t K);
/// A target outside the vocabulary ends in the device's own error.
void cross_entropy_inplace(at::Tensor& logits, const at::Tensor& targets, const at::Tensor& mask, double scale,
                           at::Tensor& losses, bool want_gradient, double smoothing);
at::Tensor linear_few_rows(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);
at::Tensor attend_step(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, at::Tensor& keys,
                       at::Tensor& values, at::IntArrayRef start, double scale);

/// `ids`: the number of each position's document, int64 [N, T].
at::Tensor document_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& ids,
                              double scale);

/// softmax(scale·q·kᵀ)·v → [N, H, T, K]; q: [N, H, T, K], k and v: [N, G, S, K]. The one place that asks ATen for
/// attention: on a GPU its fast paths for heads that share keys and values are for bf16 only, so that others get theirs
/// repeated.
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const std::optional<at::Tensor>& mask, bool causal, double scale);

}  // namespace lmnet::composite
