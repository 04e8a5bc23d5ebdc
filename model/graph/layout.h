#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "model/graph/graph.h"

namespace lmnet {

/// Rows [begin, end) of the replica's batch.
struct RowRange {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end > begin ? end - begin : 0; }
  bool operator==(const RowRange&) const = default;
};
RowRange intersect(RowRange a, RowRange b);

/// Rows of one vertex (or of the head).
struct Share {
  int vertex = 0;
  RowRange rows;
  bool operator==(const Share&) const = default;
};

/// One rank's view of the plan for a batch of so many rows: what it runs at each level, never empty shares, in vertex
/// order. The last level is the head's. A rank's level input is the concatenation of its shares: [items, T, D].
struct Layout {
  int64_t batch = 0;
  std::vector<std::vector<Share>> levels;
  int64_t items(int level) const;
};

/// The legs of a walk through the levels: the vertices of level l with what they read from the text (input edges, the
/// embedding) are leg 2·l, the edges that leave level l leg 2·l + 1; the last leg is the head's, as if it were a level.
constexpr int vertex_leg(int level) {
  return 2 * level;
}
constexpr int edge_leg(int level) {
  return 2 * level + 1;
}

/// The layout of one process that runs everything.
Layout whole_layout(const Graph& graph, int64_t batch);

/// What a rank with this layout sends from `level`: for each destination vertex the rows to which its sources here
/// contribute, disjoint and ascending. Messages to the same destination row are added before they leave.
std::vector<Share> outgoing(const Graph& graph, const Layout& layout, int level);

/// Ranks of a vertex-parallel group, ascending.
using Holders = std::vector<int>;

/// Who holds which weights: for each vertex group and edge, the embedding and the head, the ranks of the
/// vertex-parallel group. Independent of the batch.
struct Placement {
  std::map<std::string, Holders> groups;
  std::vector<Holders> edges;
  Holders embedding, head;
};
/// Everything on rank 0.
Placement whole_placement(const Graph& graph);

/// Which groups of parameters a training stage changes.
struct Trains {
  bool edges = false, vertices = false, embeddings = false, head = false, prefix = false;
};

/// For each level, whether the messages that leave it carry gradients back: whether anything before them trains.
std::vector<bool> gradient_gaps(const Graph& graph, const Trains& trains);

}  // namespace lmnet
