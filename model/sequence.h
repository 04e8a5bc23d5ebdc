#pragma once
#include <ATen/core/Tensor.h>

#include "model/graph/layout.h"

namespace lmnet {

/// A batch of B token sequences on its way through the network, so that packing, padding and caches never change a
/// signature. Positions count from 0 in every row, and attention is causal over the whole row.
struct Sequence {
  at::Tensor tokens;   // [B, T] int64
  at::Tensor targets;  // [B, T] int64: the token that each position should predict; undefined without a loss
  at::Tensor learn;    // [B, T] bool: which targets count

  int64_t rows() const { return tokens.size(0); }
  int64_t length() const { return tokens.size(1); }
  Sequence narrow(RowRange range) const;
};

}  // namespace lmnet
