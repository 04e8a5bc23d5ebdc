#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "parallel/mesh.h"

namespace lmnet {

/// A part of a flat buffer: elements [begin, end).
struct Shard {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
  at::Tensor of(const at::Tensor& flat) const { return flat.narrow(0, begin, size()); }
};

/// The replica group of flat buffers, seen from one rank: its holders in the vertex-parallel group, the same in every
/// replica. Sharded (ZeRO-1), each of these ranks owns a shard; else each owns the whole.
///
/// Buffers go over the data-parallel group first, then point to point between the holders, so that overlapping groups
/// need no communicator of their own. All of it runs on one queue, in the order in which it was started: every rank
/// starts what it takes part in, in an order that all ranks share. Sums are formed in rank order; every copy gets the
/// same bits, sharded or not.
class ReplicaGroup {
 public:
  /// `holders`: ascending, this rank's among them. Local; `mesh` outlives it. Throws CommunicationError.
  ReplicaGroup(Mesh& mesh, const std::vector<int>& holders, bool sharded);

  /// What this rank owns of a buffer of `count` elements.
  Shard shard(int64_t count) const;
  /// Part of a buffer of `count` elements, so that every element is one rank's, sharded or not.
  Shard share(int64_t count) const;
  /// Whether this rank counts its shard where every element is to be counted once over the world.
  bool counts() const { return counts_; }

  /// The own shard of `flat` (1-D) becomes the sum over all copies; what other shards hold then is not said.
  Work start_reduce(at::Tensor flat);
  /// Every shard of `flat` becomes that of its owner.
  Work start_gather(at::Tensor flat);

 private:
  Communicator* data_;                     // null where there is one replica
  std::unique_ptr<Communicator> holders_;  // null where there is one holder
  bool sharded_, counts_;
};

}  // namespace lmnet
