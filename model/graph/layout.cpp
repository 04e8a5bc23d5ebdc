#include "model/graph/layout.h"

#include <algorithm>

namespace lmnet {

RowRange intersect(RowRange a, RowRange b) {
  return {std::max(a.begin, b.begin), std::min(a.end, b.end)};
}

int64_t Layout::items(int level) const {
  int64_t sum = 0;
  for (const Share& share : levels[level]) sum += share.rows.size();
  return sum;
}

Layout whole_layout(const Graph& graph, int64_t batch) {
  Layout layout{batch, {}};
  for (int l = 0; l <= graph.levels(); ++l) {
    layout.levels.emplace_back();
    for (int vertex : graph.level(l))
      if (batch > 0) layout.levels.back().push_back({vertex, {0, batch}});
  }
  return layout;
}

std::vector<Share> outgoing(const Graph& graph, const Layout& layout, int level) {
  std::map<int, std::vector<RowRange>> by_destination;
  for (const Share& share : layout.levels[level])
    for (int e : graph.edges_from(share.vertex)) by_destination[graph.edges()[e].destination].push_back(share.rows);
  std::vector<Share> pieces;
  for (auto& [destination, ranges] : by_destination) {
    std::sort(ranges.begin(), ranges.end(), [](RowRange a, RowRange b) { return a.begin < b.begin; });
    RowRange open = ranges.front();
    for (RowRange range : ranges) {
      if (range.begin > open.end) {
        pieces.push_back({destination, open});
        open = range;
      }
      open.end = std::max(open.end, range.end);
    }
    pieces.push_back({destination, open});
  }
  return pieces;
}

Placement whole_placement(const Graph& graph) {
  Placement placement;
  for (const Vertex& vertex : graph.vertices()) placement.groups[vertex.group] = {0};
  placement.edges.assign(graph.edges().size(), {0});
  placement.embedding = placement.head = {0};
  return placement;
}

std::vector<bool> gradient_gaps(const Graph& graph, const Trains& trains) {
  std::vector<bool> gaps(graph.levels(), false);
  std::vector<bool> before(graph.vertices().size(), false);  // whether the output of a vertex depends on what trains
  auto edge_trains = [&](const Edge& edge) {
    return (trains.edges && !edge.kinds.empty()) ||
           (edge.source == Graph::input ? trains.embeddings || trains.prefix : before[edge.source]);
  };
  for (size_t v = 0; v < graph.vertices().size(); ++v) {
    before[v] = trains.vertices;
    for (int e : graph.edges_into(static_cast<int>(v))) before[v] = before[v] || edge_trains(graph.edges()[e]);
    for (int e : graph.edges_from(static_cast<int>(v)))
      if (edge_trains(graph.edges()[e])) gaps[graph.vertices()[v].level] = true;
  }
  return gaps;
}

}  // namespace lmnet
