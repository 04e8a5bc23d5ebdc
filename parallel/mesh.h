#pragma once
#include <memory>

#include "parallel/communicator.h"

namespace lmnet {

/// The ranks as a grid: rank = dp_rank · vp_size + vp_rank, so that the ranks of one replica are neighbours.
struct Mesh {
  /// Collective over `parent`, which is not needed afterwards. Throws ConfigError when groups of `vertex_parallel`
  /// ranks do not fill the world.
  Mesh(Communicator& parent, int vertex_parallel);

  int vp_size;
  int dp_size;
  int vp_rank;
  int dp_rank;
  std::unique_ptr<Communicator> world;    ///< all ranks, for control; on the queue of the parent
  std::unique_ptr<Communicator> vertex;   ///< the ranks of this replica, by vp_rank, for exchanges; a queue of its own
  std::unique_ptr<Communicator> data;     ///< the ranks with this vp_rank, by dp_rank, for gradients; the third queue
  std::unique_ptr<Communicator> replica;  ///< the ranks of this replica, by vp_rank; on the queue of `data`
};

}  // namespace lmnet
