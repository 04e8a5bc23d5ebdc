#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "model/graph/layout.h"

namespace lmnet {

/// One message of a gap on its way: rows of a destination vertex, from one rank to another.
struct Route {
  int from = 0, to = 0;  // ranks of the vertex-parallel group
  Share share;           // destination vertex and rows
};

/// Which rank of a vertex-parallel group runs and holds what: a pure function of the graph, the two sizes and what
/// trains. See the architecture page, "Parallel: one plan for everything".
class Plan {
 public:
  /// `tied`: the head is the embedding's weight, held by the users of both.
  Plan(const Graph& graph, int vertex_parallel, int data_parallel, const Trains& trains, bool tied);

  int vertex_parallel() const { return vertex_parallel_; }
  const Placement& placement() const { return placement_; }

  /// What `rank` runs of a batch of `rows`: item i = vertex·B + row of a level of N vertices runs on rank
  /// ⌊i·VP/(N·B)⌋; with separate weights vertex v runs whole on rank v mod VP.
  Layout layout(int rank, int64_t rows) const;

  /// The messages that leave `level`, ordered by sender, receiver, destination vertex and rows.
  std::vector<Route> routes(int level, int64_t rows) const;

  /// Whether the transposed exchange of the messages that leave `level` runs in this stage.
  bool carries_gradients(int level) const { return gradient_gaps_[level]; }

  /// Level by level: vertices, ranks, rows, elements sent a row; for `rows` sequences a replica.
  std::string describe(int64_t rows) const;
  /// 64-bit hash of everything the plan depends on; equal on all ranks that understand each other.
  uint64_t hash() const { return hash_; }

 private:
  Holders holders_of(int vertex) const;

  const Graph* graph_;  // outlives the plan
  int vertex_parallel_, data_parallel_;
  Placement placement_;
  std::vector<bool> gradient_gaps_;
  uint64_t hash_ = 0;
};

}  // namespace lmnet
