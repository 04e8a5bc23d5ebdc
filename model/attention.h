#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "model/backbone.h"
#include "model/cache.h"
#include "model/sequence.h"

namespace lmnet {

/// Cosines and sines of rotary positions, both halves of a head: [T, K], or [R, T, K] for positions of each row's own;
/// fp32 (fp64 for fp64). Undefined for a backbone with learned positions.
struct Rotary {
  at::Tensor cos, sin;
  /// positions: int64 of any shape, to which K is added.
  static Rotary tables(const BackboneConfig& backbone, const at::Tensor& positions, at::ScalarType dtype);
};

/// The T positions of each row that a call computes.
struct Steps {
  Rotary rotary;
  /// [R]: the cache's slot of each row's first position; empty = 0. Item n of a call belongs to row n modulo R.
  std::vector<int64_t> start = {};
  int64_t capacity = 0;  // slots of a row in the cache
  /// [R]: positions of each row that are seen, without a cache; empty = all.
  std::vector<int64_t> lengths = {};
  /// [N]: where the documents of each item of a call begin; empty = one document each. Rotary tables need not know:
  /// only the distance of two positions matters to them.
  DocumentStarts documents = {};
  /// The same as numbers [N, T] on the device of a call, where that is not the CPU.
  at::Tensor document_ids = {};

  /// Whether each item is one document.
  bool whole() const { return documents.empty(); }
};

/// Splits the fused projection [N, T, (H + 2G)·K] into heads: q [N, H, T, K], k and v [N, G, T, K]; q and k turned by
/// their positions where the tables are defined.
struct Heads {
  at::Tensor q, k, v;
};
Heads split_heads(const at::Tensor& qkv, const Rotary& rotary, int64_t heads, int64_t kv_heads, int64_t head_width);

/// Causal attention softmax(scale·q·kᵀ)·v → [N, T, H·K]. With `cached`, keys and values are put into their slots first,
/// and a query sees all slots up to its own; without, all positions up to its own that Steps::lengths has, or those of
/// its document.
at::Tensor attend(const Heads& heads, double scale, const Steps& steps, KeyValues* cached);

}  // namespace lmnet
