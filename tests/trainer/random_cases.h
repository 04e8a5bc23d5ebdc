#pragma once
#include <cstdint>

#include "tests/trainer/agreement.h"

namespace lmnet::testing {

/// A graph with skips, identity edges and weights shared at random; what trains, batches and rules at random.
Case random_case(uint64_t seed);
/// The graph of a case whose topology is `random SEED`.
Graph random_graph(uint64_t seed, const GraphOptions& options);
/// One to eight ranks.
Grid random_grid(uint64_t seed);

}  // namespace lmnet::testing
