#include "parallel/mesh.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <vector>

#include "model/graph/errors.h"

namespace lmnet {
namespace {

/// `vertex_parallel`, when it fits a world of `world_size` ranks.
int checked(int vertex_parallel, int world_size) {
  if (vertex_parallel >= 1 && world_size % vertex_parallel == 0) {
    return vertex_parallel;
  }
  std::vector<int> fitting;
  for (int divisor = 1; divisor <= world_size; ++divisor) {
    if (world_size % divisor == 0) {
      fitting.push_back(divisor);
    }
  }
  throw ConfigError(fmt::format(
      "parallel.vertex: {} does not divide the {} ranks of this run: start a multiple of it, or set parallel.vertex "
      "to one of {}.",
      vertex_parallel, world_size, fmt::join(fitting, ", ")));
}

}  // namespace

Mesh::Mesh(Communicator& parent, int vertex_parallel)
    : vp_size(checked(vertex_parallel, parent.size())),
      dp_size(parent.size() / vp_size),
      vp_rank(parent.rank() % vp_size),
      dp_rank(parent.rank() / vp_size),
      world(parent.split(0)),
      vertex(parent.fork()->split(dp_rank)) {
  const std::unique_ptr<Communicator> gradients = parent.fork();
  data = gradients->split(vp_rank);
  replica = gradients->split(dp_rank);
}

}  // namespace lmnet
