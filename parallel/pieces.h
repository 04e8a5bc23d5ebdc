#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "parallel/communicator.h"

namespace lmnet {

/// First element of piece `part` when `total` elements are cut into `parts` pieces whose sizes differ by at most one;
/// `part == parts` gives the end.
constexpr int64_t piece_begin(int64_t total, int64_t parts, int64_t part) {
  return total * part / parts;
}

/// The view of piece `part` of a 1-D tensor.
at::Tensor piece_of(const at::Tensor& flat, int64_t parts, int64_t part);

/// Sets `result` to the reduction of `terms` (at least one, each of the shape and dtype of `result`, not overlapping
/// it), taken in their order. A sum of bf16 is formed in fp32 and rounded once.
void reduce_in_order(std::span<const at::Tensor> terms, Reduction reduction, at::Tensor result);

}  // namespace lmnet
