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
  int data_parallel() const { return data_parallel_; }
  int ranks() const { return data_parallel_ * vertex_parallel_; }
  const Placement& placement() const { return placement_; }

  /// What `rank` runs of a batch of `rows`: item i = vertex·B + row of a level of N vertices runs on rank
  /// ⌊i·VP/(N·B)⌋; with separate weights vertex v runs whole on rank v mod VP.
  Layout layout(int rank, int64_t rows) const;

  /// The rows that go through the levels together, each piece laid out as if it were the whole batch. With `overlap`
  /// one piece computes while the other one travels; more than two would only make the products smaller. They are cut
  /// at the multiple of VP next to the middle, so that the fullest rank of a level runs no row more than without them;
  /// where there is none, they stay together.
  std::vector<RowRange> pieces(int64_t rows, bool overlap) const;

  /// The messages that leave `level`, ordered by sender, receiver, destination vertex and rows.
  std::vector<Route> routes(int level, int64_t rows) const;

  /// Whether the transposed exchange of the messages that leave `level` runs in this stage.
  bool carries_gradients(int level) const { return gradient_gaps_[level]; }

  /// One line: hash, sizes and rows of a replica.
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
