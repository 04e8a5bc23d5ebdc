#include "model/kernels/composite.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "model/kernels/vector.h"

namespace lmnet::composite {

using kernels::wide_type;

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const int64_t width = x.size(2);
  if (x.size(0) == 1 && weight.scalar_type() == x.scalar_type()) return at::rms_norm(x, {width}, weight[0], eps);
  const at::Tensor wide = at::rms_norm(x.to(wide_type(x)), {width}, {}, eps);
  return (wide * weight.to(wide_type(x)).unsqueeze(1)).to(x.scalar_type());
}

at::Tensor swiglu(const at::Tensor& gate_up) {
  const int64_t width = gate_up.size(-1) / 2;
  return at::silu(gate_up.narrow(-1, 0, width)) * gate_up.narrow(-1, width, width);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> qkv_rotary(const at::Tensor& qkv, const at::Tensor& cos,
                                                          const at::Tensor& sin, int64_t H, int64_t G, int64_t K) {
  const at::Tensor heads = qkv.reshape({qkv.size(0), qkv.size(1), H + 2 * G, K}).transpose(1, 2);
  // A table of each row's own positions is the same for all of its heads.
  const auto table = [](const at::Tensor& angles) { return angles.dim() == 3 ? angles.unsqueeze(1) : angles; };
  const at::Tensor x = heads.narrow(1, 0, H + G).to(wide_type(qkv));
  const at::Tensor turned = at::cat({-x.narrow(-1, K / 2, K / 2), x.narrow(-1, 0, K / 2)}, -1);
  const at::Tensor y = (x * table(cos) + turned * table(sin)).to(qkv.scalar_type());
  return {y.narrow(1, 0, H).contiguous(), y.narrow(1, H, G).contiguous(), heads.narrow(1, H + G, G).contiguous()};
}

void cross_entropy_inplace(at::Tensor& logits, const at::Tensor& targets, const at::Tensor& mask, double scale,
                           at::Tensor& losses, bool want_gradient, double smoothing) {
  const at::NoGradGuard no_grad;
  const auto width = static_cast<double>(logits.size(1));
  const at::Tensor left_out = mask.logical_not().unsqueeze(1), at_target = (targets * mask).unsqueeze(1);
  at::Tensor wide = logits.to(wide_type(logits));
  const at::Tensor log_total = wide.logsumexp(1, /*keepdim=*/true);
  at::Tensor loss = log_total - wide.gather(1, at_target);
  if (smoothing > 0) loss = (1 - smoothing) * loss + smoothing * (log_total - wide.mean(1, /*keepdim=*/true));
  losses.copy_(loss.masked_fill(left_out, 0).squeeze(1));
  if (!want_gradient) return;
  wide = (wide - log_total).exp_().mul_(scale);
  if (smoothing > 0) wide.sub_(scale * smoothing / width);
  wide.scatter_add_(1, at_target, at::full_like(loss, -scale * (1 - smoothing)));
  logits.copy_(wide.masked_fill_(left_out, 0));
}

at::Tensor linear_few_rows(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const at::Tensor columns = weight.transpose(1, 2);
  return bias.defined() ? at::baddbmm(bias.unsqueeze(1), x, columns) : at::bmm(x, columns);
}

at::Tensor attend_step(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, at::Tensor& keys,
                       at::Tensor& values, at::IntArrayRef start, double scale) {
  const int64_t items = q.size(0), longest = *std::ranges::max_element(start) + 1;
  const auto options = q.options().dtype(at::kLong);
  const at::Tensor slot =
      at::tensor(start, options).repeat({items / static_cast<int64_t>(start.size())}).view({items, 1, 1, 1});
  const at::Tensor place = slot.expand(k.sizes());
  keys.scatter_(2, place, k);
  values.scatter_(2, place, v);
  const at::Tensor seen = at::arange(longest, options) <= slot;
  return attention(q, keys.narrow(2, 0, longest), values.narrow(2, 0, longest), seen, false, scale)
      .transpose(1, 2)
      .reshape({items, 1, q.size(1) * q.size(3)});
}

at::Tensor document_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& ids,
                              double scale) {
  const int64_t items = q.size(0), length = q.size(2);
  const at::Tensor slot = at::arange(length, ids.options());
  const at::Tensor seen = (ids.unsqueeze(2) == ids.unsqueeze(1)).logical_and_(slot <= slot.unsqueeze(1));
  return attention(q, k, v, seen.unsqueeze(1), false, scale)
      .transpose(1, 2)
      .reshape({items, length, q.size(1) * q.size(3)});
}

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const std::optional<at::Tensor>& mask, bool causal, double scale) {
  const bool grouped = q.size(1) != k.size(1);
  if (!grouped || q.is_cpu() || q.scalar_type() == at::kBFloat16 || q.scalar_type() == at::kHalf)
    return at::scaled_dot_product_attention(q, k, v, mask, 0.0, causal, scale, grouped);
  const int64_t shared = q.size(1) / k.size(1);
  return at::scaled_dot_product_attention(q, k.repeat_interleave(shared, 1), v.repeat_interleave(shared, 1), mask, 0.0,
                                          causal, scale);
}

}  // namespace lmnet::composite
