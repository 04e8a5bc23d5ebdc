#include "parallel/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>

#include "model/graph/errors.h"

namespace lmnet {
namespace {

Holders unite(const Holders& a, const Holders& b) {
  Holders both;
  std::set_union(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(both));
  return both;
}

/// ⌈a / b⌉ for a ≥ 0, b > 0.
int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

uint64_t fnv1a(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (unsigned char c : text) hash = (hash ^ c) * 0x100000001b3ull;
  return hash;
}

}  // namespace

Plan::Plan(const Graph& graph, int vertex_parallel, int data_parallel, const Trains& trains, bool tied)
    : graph_(&graph), vertex_parallel_(vertex_parallel), data_parallel_(data_parallel) {
  for (const Vertex& vertex : graph.vertices()) {
    Holders holders = holders_of(static_cast<int>(&vertex - graph.vertices().data()));
    Holders& group = placement_.groups[vertex.group];
    group = unite(group, holders);
  }
  for (const Edge& edge : graph.edges()) {
    // Edges run where their source rows are; input edges at the rows of their destination.
    placement_.edges.push_back(holders_of(edge.source == Graph::input ? edge.destination : edge.source));
    if (edge.source == Graph::input) placement_.embedding = unite(placement_.embedding, placement_.edges.back());
  }
  placement_.head = holders_of(graph.head());
  if (tied) placement_.head = placement_.embedding = unite(placement_.head, placement_.embedding);
  gradient_gaps_ = gradient_gaps(graph, trains);
  hash_ = fnv1a(fmt::format("{}vp {} dp {} trains {}{}{}{}{} tied {}", graph.describe(), vertex_parallel, data_parallel,
                            trains.edges, trains.vertices, trains.embeddings, trains.head,
                            trains.prefix ? " prefix" : "", tied));
}

Holders Plan::holders_of(int vertex) const {
  int level = graph_->level_of(vertex);
  auto members = graph_->level(level);
  if (graph_->separate(level)) return {vertex % vertex_parallel_};
  int64_t n = static_cast<int64_t>(members.size()), v = vertex - members.front();
  Holders holders;
  // Rank r holds vertex v iff [rN/VP, (r+1)N/VP) meets [v, v+1): free of the batch, so that tails find their weights.
  for (int64_t r = 0; r < vertex_parallel_; ++r)
    if (r * n < (v + 1) * vertex_parallel_ && (r + 1) * n > v * vertex_parallel_)
      holders.push_back(static_cast<int>(r));
  return holders;
}

Layout Plan::layout(int rank, int64_t rows) const {
  Layout layout{rows, {}};
  for (int l = 0; l <= graph_->levels(); ++l) {
    auto members = graph_->level(l);
    std::vector<Share>& shares = layout.levels.emplace_back();
    int64_t items = static_cast<int64_t>(members.size()) * rows;
    int64_t begin = ceil_div(rank * items, vertex_parallel_), end = ceil_div((rank + 1) * items, vertex_parallel_);
    for (int vertex : members) {
      int64_t first = (vertex - members.front()) * rows;
      RowRange range = intersect({begin - first, end - first}, {0, rows});
      if (graph_->separate(l)) range = vertex % vertex_parallel_ == rank ? RowRange{0, rows} : RowRange{};
      if (range.size() > 0) shares.push_back({vertex, range});
    }
  }
  return layout;
}

std::vector<RowRange> Plan::pieces(int64_t rows, bool overlap) const {
  const int64_t cut = vertex_parallel_ * ((rows + vertex_parallel_) / (2 * vertex_parallel_));
  if (!overlap || vertex_parallel_ == 1 || cut == 0 || cut >= rows) return {{0, rows}};
  return {{0, cut}, {cut, rows}};
}

std::vector<Route> Plan::routes(int level, int64_t rows) const {
  struct Owner {
    int rank;
    RowRange rows;
  };
  std::vector<Layout> layouts;
  std::map<int, std::vector<Owner>> owners;  // of the rows of each vertex behind the level: ascending both ways
  for (int rank = 0; rank < vertex_parallel_; ++rank) {
    layouts.push_back(layout(rank, rows));
    for (size_t behind = level + 1; behind < layouts.back().levels.size(); ++behind)
      for (const Share& share : layouts.back().levels[behind]) owners[share.vertex].push_back({rank, share.rows});
  }
  std::vector<Route> routes;
  for (int from = 0; from < vertex_parallel_; ++from) {
    const auto first = std::ssize(routes);
    for (const Share& piece : outgoing(*graph_, layouts[from], level)) {
      const std::vector<Owner>& readers = owners.at(piece.vertex);
      auto reader = std::partition_point(readers.begin(), readers.end(),
                                         [&](const Owner& owner) { return owner.rows.end <= piece.rows.begin; });
      for (; reader != readers.end() && reader->rows.begin < piece.rows.end; ++reader)
        routes.push_back({from, reader->rank, {piece.vertex, intersect(piece.rows, reader->rows)}});
    }
    std::stable_sort(routes.begin() + first, routes.end(), [](const Route& a, const Route& b) { return a.to < b.to; });
  }
  return routes;
}

std::string Plan::describe(int64_t rows) const {
  return fmt::format("plan {:016x} · {} rank{} = {} data × {} vertex · {} row{} a replica\n", hash_, ranks(),
                     ranks() == 1 ? "" : "s", data_parallel_, vertex_parallel_, rows, rows == 1 ? "" : "s");
}

}  // namespace lmnet
