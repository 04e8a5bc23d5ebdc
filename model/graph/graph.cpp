#include "model/graph/graph.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <set>

#include "model/graph/errors.h"

namespace lmnet {
namespace {

constexpr int kLargestLevel = 4096;

constexpr std::array<std::pair<EdgeKind, std::string_view>, 4> kKindNames = {{{EdgeKind::block, "block"},
                                                                              {EdgeKind::attention, "attention"},
                                                                              {EdgeKind::mlp, "mlp"},
                                                                              {EdgeKind::linear, "linear"}}};

std::vector<int> parse_levels(std::string_view text) {
  std::vector<int> sizes;
  const char* at = text.data();
  const char* end = at + text.size();
  while (true) {
    int size = 0;
    auto [next, error] = std::from_chars(at, end, size);
    bool ends = next == end, goes_on = next != end && *next == '-';
    if (error != std::errc() || size < 1 || size > kLargestLevel || !(ends || goes_on))
      throw ConfigError(
          fmt::format("\"{}\" is no topology: expected level sizes from 1 to {} joined by -, for example 1-4-4-4-1",
                      text, kLargestLevel));
    sizes.push_back(size);
    if (ends) return sizes;
    at = next + 1;
  }
}

void check_name(const std::string& name) {
  if (name.empty() || name == "input" || name == "head" || name.find_first_of("./@ ") != std::string::npos)
    throw ConfigError(fmt::format(
        "\"{}\" cannot name a vertex or group: input, head, and names with . / @ or blanks are taken", name));
}

/// Longest path from the input to each vertex (-1 where the input does not reach).
std::vector<int> longest_paths(size_t count, const std::vector<Edge>& edges, const std::vector<ExplicitVertex>& names) {
  std::vector<int> level(count, -1), waiting(count, 0), ready;
  std::vector<std::vector<int>> next(count);
  for (const Edge& edge : edges) {
    if (edge.destination == static_cast<int>(count)) continue;
    if (edge.source == Graph::input) {
      level[edge.destination] = 0;
    } else {
      ++waiting[edge.destination];
      next[edge.source].push_back(edge.destination);
    }
  }
  for (size_t v = 0; v < count; ++v)
    if (waiting[v] == 0) ready.push_back(static_cast<int>(v));
  for (size_t done = 0; done < ready.size(); ++done) {
    int v = ready[done];
    for (int destination : next[v]) {
      if (level[v] >= 0) level[destination] = std::max(level[destination], level[v] + 1);
      if (--waiting[destination] == 0) ready.push_back(destination);
    }
  }
  auto stuck = std::find_if(waiting.begin(), waiting.end(), [](int number) { return number > 0; });
  if (stuck == waiting.end()) return level;
  // A vertex behind a cycle waits too: going back once for each vertex surely ends on the cycle itself.
  int v = static_cast<int>(stuck - waiting.begin());
  for (size_t step = 0; step < count; ++step)
    v = std::find_if(edges.begin(), edges.end(), [&](const Edge& edge) {
          return edge.destination == v && edge.source != Graph::input && waiting[edge.source] > 0;
        })->source;
  throw ConfigError(fmt::format("the graph has a cycle through vertex {}", names[v].name));
}

std::vector<bool> reach_head(size_t count, const std::vector<Edge>& edges) {
  std::vector<bool> alive(count + 1, false);
  alive[count] = true;
  for (bool changed = true; changed;) {
    changed = false;
    for (const Edge& edge : edges)
      if (edge.source != Graph::input && alive[edge.destination] && !alive[edge.source])
        alive[edge.source] = changed = true;
  }
  return alive;
}

}  // namespace

std::string to_string(const EdgeKinds& kinds) {
  std::vector<std::string_view> names;
  for (EdgeKind kind : kinds)
    names.push_back(std::ranges::find(kKindNames, kind, &std::pair<EdgeKind, std::string_view>::first)->second);
  return names.empty() ? "identity" : fmt::format("{}", fmt::join(names, "+"));
}

EdgeKinds parse_edge_kind(std::string_view text) {
  if (text == "identity") return {};
  for (const auto& [kind, name] : kKindNames)
    if (text == name) return {kind};
  throw ConfigError(fmt::format("\"{}\" is no kind of edge: block, attention, mlp, linear and identity are", text));
}

Graph Graph::layered(std::string_view topology, const GraphOptions& options) {
  std::vector<int> sizes = parse_levels(topology);
  if (options.residual && sizes.size() == 1)
    throw ConfigError(fmt::format(
        "a residual from the first vertex to the head needs two levels or more, topology {} has one", topology));
  if (options.residual && options.output == Output::mean && sizes.back() > 1)
    throw ConfigError("the head adds the residual to what it reads: output mean cannot go with it, take first or sum");
  std::vector<ExplicitVertex> vertices;
  std::vector<ExplicitEdge> edges;
  auto name = [](size_t level, int number) { return fmt::format("{}-{}", level, number); };
  for (size_t l = 0; l < sizes.size(); ++l)
    for (int i = 0; i < sizes[l]; ++i) {
      vertices.push_back({name(l, i), ""});
      if (l == 0) edges.push_back({"input", name(l, i)});
      for (int j = 0; l + 1 < sizes.size() && j < sizes[l + 1]; ++j) edges.push_back({name(l, i), name(l + 1, j)});
      if (l + 1 == sizes.size() && (i == 0 || options.output != Output::first)) edges.push_back({name(l, i), "head"});
    }
  if (options.residual) edges.push_back({name(0, 0), "head"});
  Graph graph = explicit_graph(std::move(vertices), edges, options);
  graph.topology_ = topology;
  bool adds = options.residual || options.output == Output::sum;
  graph.head_aggregation_ = adds ? Aggregation::sum : Aggregation::mean;
  return graph;
}

Graph Graph::explicit_graph(std::vector<ExplicitVertex> names, const std::vector<ExplicitEdge>& named_edges,
                            const GraphOptions& options) {
  std::map<std::string, int> number;
  for (const ExplicitVertex& vertex : names) {
    check_name(vertex.name);
    if (!vertex.group.empty()) check_name(vertex.group);
    if (!number.emplace(vertex.name, static_cast<int>(number.size())).second)
      throw ConfigError(fmt::format("vertex {} stands twice in the graph", vertex.name));
  }
  int head = static_cast<int>(names.size());
  auto find = [&](const std::string& name, const char* end, int end_number) {
    if (name == end) return end_number;
    auto found = number.find(name);
    if (found == number.end())
      throw ConfigError(fmt::format("an edge names \"{}\", which is neither a vertex nor {}", name, end));
    return found->second;
  };
  std::vector<Edge> edges;
  std::set<std::pair<int, int>> seen;
  for (const ExplicitEdge& named : named_edges) {
    Edge edge{find(named.from, "input", input), find(named.to, "head", head), {}, ""};
    if (!seen.emplace(edge.source, edge.destination).second)
      throw ConfigError(fmt::format("edge {} → {} stands twice in the graph", named.from, named.to));
    if (edge.source == input && edge.destination == head)
      throw ConfigError("an edge from input to head skips every vertex; lead it through at least one");
    if (named.kinds)
      edge.kinds = *named.kinds;
    else if (edge.destination != head)
      edge.kinds = edge.source == input ? options.input_edge : options.edge;
    edges.push_back(std::move(edge));
  }
  std::vector<int> level = longest_paths(names.size(), edges, names);
  for (size_t v = 0; v < names.size(); ++v)
    if (level[v] < 0) throw ConfigError(fmt::format("the input does not reach vertex {}", names[v].name));
  std::vector<bool> alive = reach_head(names.size(), edges);
  if (std::none_of(alive.begin(), alive.end() - 1, [](bool a) { return a; }))
    throw ConfigError("no vertex reaches the head: add an edge {from: VERTEX, to: head}");

  Graph graph;
  graph.head_aggregation_ = options.aggregation;
  std::map<int, int> in_level;
  std::set<std::string> named;
  for (const ExplicitVertex& vertex : names)
    if (!vertex.group.empty()) named.insert(vertex.group);
  for (size_t v = 0; v < names.size(); ++v) {
    Vertex vertex{names[v].name, names[v].group, level[v], in_level[level[v]]++};
    if (vertex.group.empty()) {
      vertex.group = options.sharing == Sharing::all     ? "shared"
                     : options.sharing == Sharing::level ? fmt::format("level{}", level[v])
                                                         : vertex.name;
      if (named.contains(vertex.group))
        throw ConfigError(
            fmt::format("vertex {} falls into group {} by model.sharing, and other vertices name that group: name a "
                        "group for it too",
                        vertex.name, vertex.group));
    }
    graph.vertices_.push_back(std::move(vertex));
  }
  graph.edges_ = std::move(edges);
  graph.topology_ = fmt::format("explicit ({} vertices, {} edges)", names.size(), named_edges.size());
  graph.finish(options, alive);
  return graph;
}

void Graph::finish(const GraphOptions& options, const std::vector<bool>& alive) {
  sharing_ = options.sharing;
  aggregation_ = options.aggregation;
  std::vector<int> order;
  for (size_t v = 0; v < vertices_.size(); ++v) {
    if (alive[v])
      order.push_back(static_cast<int>(v));
    else
      warnings_.push_back(fmt::format("vertex {} cannot reach the head and is left out", vertices_[v].name));
  }
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return vertices_[a].level < vertices_[b].level; });
  std::map<int, int> renumbered{{input, input}, {static_cast<int>(vertices_.size()), static_cast<int>(order.size())}};
  std::vector<Vertex> vertices;
  for (int v : order) {
    renumbered[v] = static_cast<int>(vertices.size());
    vertices.push_back(vertices_[v]);
  }
  std::vector<Edge> edges;
  for (Edge edge : edges_) {
    auto source = renumbered.find(edge.source), destination = renumbered.find(edge.destination);
    if (source == renumbered.end() || destination == renumbered.end()) continue;
    edge.source = source->second;
    edge.destination = destination->second;
    edges.push_back(edge);
  }
  std::sort(edges.begin(), edges.end(), [](const Edge& a, const Edge& b) {
    return std::pair(a.source, a.destination) < std::pair(b.source, b.destination);
  });
  vertices_ = std::move(vertices);
  edges_ = std::move(edges);

  levels_.resize(vertices_.back().level + 2);
  for (size_t v = 0; v < vertices_.size(); ++v) levels_[vertices_[v].level].push_back(static_cast<int>(v));
  levels_.back() = {head()};
  into_.resize(vertices_.size() + 1);
  from_.resize(vertices_.size() + 2);
  for (size_t e = 0; e < edges_.size(); ++e) {
    Edge& edge = edges_[e];
    into_[edge.destination].push_back(static_cast<int>(e));
    from_[edge.source + 1].push_back(static_cast<int>(e));
    int to = level_of(edge.destination), number = edge.destination == head() ? 0 : vertices_[edge.destination].number;
    std::string gap = edge.source == input ? "input" : std::to_string(vertices_[edge.source].level);
    int next = edge.source == input ? 0 : vertices_[edge.source].level + 1;
    if (edge.destination == head())
      gap += "-head";
    else if (to != next)
      gap += fmt::format("-{}", to);
    edge.name = fmt::format("edges.{}.{}-{}", gap, edge.source == input ? 0 : vertices_[edge.source].number, number);
  }
}

double Graph::input_scale(int vertex) const {
  Aggregation rule = vertex == head() ? head_aggregation_ : aggregation_;
  return rule == Aggregation::mean ? 1.0 / static_cast<double>(into_[vertex].size()) : 1.0;
}

bool Graph::separate(int number) const {
  if (number == levels()) return false;
  const std::string& group = vertices_[levels_[number].front()].group;
  return sharing_ == Sharing::none || std::any_of(levels_[number].begin(), levels_[number].end(),
                                                  [&](int v) { return vertices_[v].group != group; });
}

std::string Graph::describe() const {
  std::string text;
  for (const Vertex& vertex : vertices_)
    text += fmt::format("{} {} {} {}\n", vertex.level, vertex.number, vertex.name, vertex.group);
  for (const Edge& edge : edges_) text += fmt::format("{} {}\n", edge.name, to_string(edge.kinds));
  for (int v = 0; v <= head(); ++v) text += fmt::format("{:.17g} ", input_scale(v));
  for (int l = 0; l < levels(); ++l) text += separate(l) ? "separate " : "shared ";
  return text;
}

}  // namespace lmnet
