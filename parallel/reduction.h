#pragma once
#include <ATen/core/Tensor.h>

#include <span>
#include <vector>

#include "parallel/mesh.h"

namespace lmnet {

/// Gradients that are held by the same ranks.
struct Bucket {
  at::Tensor flat;           ///< 1-D, fp32 or fp64, contiguous
  std::vector<int> holders;  ///< ranks of the VP group, ascending, the same in every replica
};

/// Replaces each bucket by its sum over all its copies: over the data-parallel group first, then over the holders, in
/// rank order, so that every copy ends with the same bits. Collective over the mesh: every rank, also one without
/// buckets, gives those that it holds, in the plan's order and all of one dtype. Throws CommunicationError.
void sum_over_replicas(std::span<Bucket> buckets, Mesh& mesh);

}  // namespace lmnet
