#include "model/attention.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "model/kernels/composite.h"
#include "model/kernels/kernels.h"

namespace lmnet {
namespace {

/// Llama 3's rule: long wavelengths are stretched by `factor`, short ones stay, those between are blended.
at::Tensor stretch(const Rope& rope, const at::Tensor& frequency) {
  if (rope.kind == Rope::Kind::standard) return frequency;
  if (rope.kind == Rope::Kind::linear) return frequency / rope.factor;
  const at::Tensor turns = frequency * (rope.original_positions / (2 * std::numbers::pi));
  const at::Tensor blend =
      ((turns - rope.low_frequency_factor) / (rope.high_frequency_factor - rope.low_frequency_factor)).clamp(0, 1);
  return blend * frequency + (1 - blend) * frequency / rope.factor;
}

/// The slots of a block's keys or values, made like `fresh` ones at first use.
at::Tensor& allocated(at::Tensor& slots, const at::Tensor& fresh, int64_t capacity) {
  // Zeros: what a mask hides still takes part in the products, where NaN times 0 would be NaN.
  if (!slots.defined()) slots = at::zeros({fresh.size(0), fresh.size(1), capacity, fresh.size(3)}, fresh.options());
  return slots;
}

/// Which of the first `seen` slots the last `length` of them see: bool [T, seen].
at::Tensor visible(int64_t length, int64_t seen, at::Device device) {
  const auto options = at::TensorOptions(at::kLong).device(device);
  return at::arange(seen, options) <= at::arange(seen - length, seen, options).unsqueeze(1);
}

/// Which of T positions each of them sees in rows of so many real ones: bool [N, 1, T, T].
at::Tensor visible_of(const std::vector<int64_t>& lengths, int64_t items, int64_t length, at::Device device) {
  const auto options = at::TensorOptions(at::kLong).device(device);
  const at::Tensor slot = at::arange(length, options);
  const auto rows = static_cast<int64_t>(lengths.size());
  const at::Tensor real = at::tensor(lengths, options).repeat({items / rows}).view({items, 1, 1, 1});
  return (slot <= slot.unsqueeze(1)).logical_and(slot < real);
}

}  // namespace

Rotary Rotary::tables(const BackboneConfig& backbone, const at::Tensor& positions, at::ScalarType dtype) {
  const at::Tensor exponent = at::arange(0, backbone.head_width, 2, positions.options().dtype(at::kDouble)) /
                              static_cast<double>(backbone.head_width);
  const at::Tensor frequency = stretch(backbone.rope, at::pow(backbone.rope.theta, -exponent));
  at::Tensor angle = positions.to(at::kDouble).unsqueeze(-1) * frequency;
  angle = at::cat({angle, angle}, -1);
  const at::ScalarType table = dtype == at::kDouble ? at::kDouble : at::kFloat;
  return {angle.cos().to(table), angle.sin().to(table)};
}

Heads split_heads(const at::Tensor& qkv, const Rotary& rotary, int64_t heads, int64_t kv_heads, int64_t head_width) {
  if (rotary.cos.defined()) {
    const int64_t repeats = rotary.cos.dim() == 3 ? qkv.size(0) / rotary.cos.size(0) : 1;
    const auto table = [&](const at::Tensor& t) { return repeats > 1 ? t.repeat({repeats, 1, 1}) : t; };
    auto [q, k, v] = qkv_rotary(qkv, table(rotary.cos), table(rotary.sin), heads, kv_heads, head_width);
    return {q, k, v};
  }
  const at::Tensor all = qkv.view({qkv.size(0), qkv.size(1), heads + 2 * kv_heads, head_width}).transpose(1, 2);
  return {all.narrow(1, 0, heads), all.narrow(1, heads, kv_heads), all.narrow(1, heads + kv_heads, kv_heads)};
}

at::Tensor attend(const Heads& heads, double scale, const Steps& steps, KeyValues* cached) {
  const auto& [q, k, v] = heads;
  const int64_t n = q.size(0), t = q.size(2);
  const auto attention = [&](const at::Tensor& keys, const at::Tensor& values, const std::optional<at::Tensor>& mask,
                             bool causal) {
    return composite::attention(q, keys, values, mask, causal, scale)
        .transpose(1, 2)
        .reshape({n, t, q.size(1) * q.size(3)});
  };
  if (!steps.whole()) {
    if (!q.is_cpu()) return composite::document_attention(q, k, v, steps.document_ids, scale);
    return document_attention(q, k, v, steps.documents, scale);
  }
  if (cached == nullptr)
    return steps.lengths.empty() ? attention(k, v, std::nullopt, true)
                                 : attention(k, v, visible_of(steps.lengths, n, t, q.device()), false);
  at::Tensor& key_slots = allocated(cached->keys, k, steps.capacity);
  at::Tensor& value_slots = allocated(cached->values, v, steps.capacity);
  if (t == 1) return attend_step(q, k, v, key_slots, value_slots, steps.start, scale);
  const int64_t start = steps.start.front(), seen = start + t;
  TORCH_CHECK(std::ranges::count(steps.start, start) == std::ssize(steps.start),
              "several tokens go on at one position");
  key_slots.narrow(2, start, t).copy_(k);
  value_slots.narrow(2, start, t).copy_(v);
  if (start == 0) return attention(k, v, std::nullopt, true);
  return attention(key_slots.narrow(2, 0, seen), value_slots.narrow(2, 0, seen), visible(t, seen, q.device()), false);
}

}  // namespace lmnet
