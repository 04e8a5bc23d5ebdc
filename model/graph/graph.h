#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lmnet {

/// Which vertices share weights: all of them, those of a level, none, or those of a named group.
enum class Sharing { all, level, none, groups };
/// How the messages into a vertex (or the head) become one input. Both are linear.
enum class Aggregation { sum, mean };
/// What the head reads: the first vertex of the last level (the reference's rule), or all of them.
enum class Output { first, mean, sum };
/// The modules that an edge is made of (reference/lmnet-reference-spec: 2.2, 3.2, 4.1).
/// block: one backbone block, then a D×D linear with bias (reference classes WBlock1, WBlock2).
/// attention: unscaled attention without a norm before it, then LayerNorm, one linear, GELU (WBlock), 5D²+7D
/// parameters. mlp: x + gelu(W2·gelu(W1·x)) through D/2 (WBlock_mlp). linear: D×D with bias.
enum class EdgeKind { block, attention, mlp, linear };
/// The links of an edge in order of execution; empty = identity, the vector itself.
using EdgeKinds = std::vector<EdgeKind>;

/// `block`, …; a chain `attention+attention`; `identity` without a link.
std::string to_string(const EdgeKinds& kinds);
/// The inverse for one kind; `identity` gives no link. Throws ConfigError that lists the kinds.
EdgeKinds parse_edge_kind(std::string_view text);

struct Vertex {
  std::string name;   // `1-3` = level 1, number 3; in an explicit graph the user's name
  std::string group;  // the weight group: vertices of one group share their weights
  int level = 0;      // longest path from the input
  int number = 0;     // place in the level
};

struct Edge {
  int source = 0;       // a vertex, or Graph::input
  int destination = 0;  // a vertex, or Graph::head()
  EdgeKinds kinds;      // empty = identity
  std::string name;     // canonical: edges.1.0-3, edges.1-3.0-0 (skip), edges.input.0-2, edges.4-head.0-0
};

/// How a topology is read. Defaults are the config page's.
struct GraphOptions {
  Sharing sharing = Sharing::all;
  Aggregation aggregation = Aggregation::mean;
  Output output = Output::first;
  EdgeKinds edge = {EdgeKind::block};
  EdgeKinds input_edge = {};  // empty = no input edge
  bool residual = false;      // layered: the head reads the sum of its vertices and the first vertex (reference GPT-2)
};

struct ExplicitVertex {
  std::string name, group;  // an empty group: by GraphOptions::sharing
};
struct ExplicitEdge {
  std::string from, to;                 // `input` and `head` are the two text ends
  std::optional<EdgeKinds> kinds = {};  // not given = GraphOptions::edge or input_edge; identity into the head
};

/// The topology: a directed acyclic graph of vertices between the input (embedding) and the head, without tensors.
/// Vertices are numbered by level, then by their place in it; edges by source, then destination. A vertex that cannot
/// reach the head would never train: it is left out, and warnings() says so.
class Graph {
 public:
  static constexpr int input = -1;

  /// `1-4-4-4-1`: levels of so many vertices, every vertex joined to all of the next level.
  /// Throws ConfigError for text that is no topology.
  static Graph layered(std::string_view topology, const GraphOptions& options = {});

  /// Any graph by names. Throws ConfigError for cycles, unknown or doubled names and edges, a vertex that the input
  /// does not reach, and an unreachable head.
  static Graph explicit_graph(std::vector<ExplicitVertex> vertices, const std::vector<ExplicitEdge>& edges,
                              const GraphOptions& options = {});

  const std::vector<Vertex>& vertices() const { return vertices_; }
  const std::vector<Edge>& edges() const { return edges_; }
  int head() const { return static_cast<int>(vertices_.size()); }

  /// Number of levels, the head's pseudo-level not counted.
  int levels() const { return static_cast<int>(levels_.size()) - 1; }
  /// The vertices of a level; level(levels()) is {head()}.
  std::span<const int> level(int number) const { return levels_[number]; }
  /// Of the vertex that the edge leaves; -1 for the input.
  int source_level(const Edge& edge) const { return edge.source == input ? -1 : vertices_[edge.source].level; }
  int level_of(int vertex) const { return vertex == head() ? levels() : vertices_[vertex].level; }

  std::span<const int> edges_into(int vertex) const { return into_[vertex]; }      // vertex or head()
  std::span<const int> edges_from(int vertex) const { return from_[vertex + 1]; }  // vertex or input

  /// What the messages into this vertex (or head()) are multiplied with after they were added: 1, or 1/n for a mean.
  double input_scale(int vertex) const;

  /// Whether the vertices of a level have weights of their own, so that each runs whole on one rank.
  bool separate(int level) const;

  /// Vertices as given, with those that were left out: `1-4-4-4-1`, or `a, b → …` for an explicit graph.
  const std::string& topology() const { return topology_; }
  const std::vector<std::string>& warnings() const { return warnings_; }
  /// Levels, groups and edges as text that is equal only for equal graphs (part of the plan's hash).
  std::string describe() const;

 private:
  void finish(const GraphOptions& options, const std::vector<bool>& alive);

  std::vector<Vertex> vertices_;
  std::vector<Edge> edges_;
  std::vector<std::vector<int>> levels_, into_, from_;
  Sharing sharing_ = Sharing::all;
  Aggregation aggregation_ = Aggregation::mean, head_aggregation_ = Aggregation::mean;
  std::string topology_;
  std::vector<std::string> warnings_;
};

}  // namespace lmnet
