#include "trainer/describe.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <map>

#include "model/network.h"
#include "trainer/cost/module.h"

namespace lmnet {

std::string short_count(double count, std::string_view unit) {
  constexpr std::array<std::pair<double, const char*>, 4> scales = {{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "K"}}};
  for (const auto& [scale, name] : scales)
    // 999 999 is 1 M: three digits of it would be 1e+03 K.
    if (count >= std::max(1e4, scale * 0.9995)) return fmt::format("{:.3g} {}{}", count / scale, name, unit);
  return fmt::format("{:.0f}{}{}", count, unit.empty() ? "" : " ", unit);
}

std::string counted(int64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

std::string short_time(double seconds) {
  const auto whole = static_cast<int64_t>(seconds + 0.5);
  if (whole >= 3600) return fmt::format("{} h {:02} min", whole / 3600, whole / 60 % 60);
  if (whole >= 60) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} s", whole);
}

std::string gib(double bytes) {
  return fmt::format("{:.2f} GiB", bytes / (1 << 30));
}

namespace {

/// A field of /proc/self/status that is given in kB.
double status_gib(std::string_view field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(field)) return std::stod(line.substr(field.size())) / (1 << 20);
  return 0;
}

}  // namespace

double peak_memory_gib(const RankDevice& where) {
  if (!where.backend) return status_gib("VmHWM:");
  return static_cast<double>(where.backend->memory(where.device).peak) / (1 << 30);
}

double memory_gib(const RankDevice& where) {
  if (!where.backend) return status_gib("VmRSS:");
  return static_cast<double>(where.backend->memory(where.device).allocated) / (1 << 30);
}

std::string parameter_table(const ModelSpec& spec, const std::vector<StageConfig>& stages) {
  ParameterCount count = count_parameters(spec.shape, spec.graph);
  std::string text;
  auto row = [&](const char* part, int64_t parameters) {
    if (parameters == 0) return;
    std::vector<std::string> in;
    for (const StageConfig& stage : stages)
      if (std::find(stage.trains.begin(), stage.trains.end(), part) != stage.trains.end()) in.push_back(stage.name);
    text += fmt::format("  {:<11}{:>16}  {}\n", part, parameters,
                        in.empty() ? "frozen" : fmt::format("trains in {}", fmt::join(in, ", ")));
  };
  row("vertices", count.vertices);
  row("edges", count.edges);
  row("embeddings", count.embeddings);
  row("head", count.head);
  row("prefix", count.prefix);
  return text + fmt::format("  {:<11}{:>16}\n", "total", count.total());
}

double training_flops_per_token(const ModelSpec& spec, const Trains& trains, int64_t sequence_length) {
  const Graph& graph = spec.graph;
  const int64_t length = spec.shape.prefix + sequence_length;
  double total = 0;
  // Whether what a vertex (or the head) reads depends on what trains.
  std::vector<bool> before(graph.vertices().size() + 1, false);
  auto add_edge = [&](const Edge& edge) {
    const bool from_input = edge.source == Graph::input;
    bool behind = from_input ? trains.embeddings || trains.prefix : trains.vertices || before[edge.source];
    const ModuleCost cost = edge_cost(edge.kinds, spec.shape.backbone, length);
    total += cost.forward_flops() + cost.backward_flops(trains.edges, behind || trains.edges);
    before[edge.destination] = before[edge.destination] || behind || (trains.edges && !edge.kinds.empty());
  };
  for (int vertex = 0; vertex <= graph.head(); ++vertex) {
    for (int e : graph.edges_into(vertex)) add_edge(graph.edges()[e]);
    if (vertex == graph.head()) break;
    const BackboneConfig& backbone = spec.shape.of(graph.vertices()[vertex].group);
    const ModuleCost cost = vertex_cost(backbone, length);
    total += cost.forward_flops() + cost.backward_flops(trains.vertices, trains.vertices || before[vertex]);
  }
  // Vectors of the prefix cost what tokens cost, only they meet no head.
  total *= static_cast<double>(length) / static_cast<double>(sequence_length);
  const ModuleCost head{.weights = static_cast<double>(spec.shape.backbone.hidden_size * spec.shape.outputs())};
  return total + head.forward_flops() +
         head.backward_flops(spec.shape.tied() ? trains.embeddings : trains.head, before[graph.head()]);
}

std::string draw_topology(const Graph& graph) {
  std::string text = fmt::format("topology {}\n", graph.topology());
  for (int level = 0; level <= graph.levels(); ++level) {
    bool head = level == graph.levels();
    text += head ? fmt::format("  head      ") : fmt::format("  level {:<3} ", level);
    std::vector<std::string> from;
    for (int vertex : graph.level(level)) {
      std::vector<std::string> sources;
      for (int e : graph.edges_into(vertex)) {
        const Edge& edge = graph.edges()[e];
        std::string source = edge.source == Graph::input ? "input" : graph.vertices()[edge.source].name;
        sources.push_back(edge.kinds.empty() ? "=" + source : source);
      }
      from.push_back(fmt::format("{} ← {}", head ? "head" : graph.vertices()[vertex].name, fmt::join(sources, " ")));
    }
    text += fmt::format("{}\n", fmt::join(from, " · "));
  }
  std::map<std::string, int> numbers;
  for (const Edge& edge : graph.edges())
    if (!edge.kinds.empty()) ++numbers[to_string(edge.kinds)];
  std::vector<std::string> kinds;
  for (const auto& [kind, number] : numbers) kinds.push_back(fmt::format("{} {}", number, kind));
  if (!kinds.empty()) text += fmt::format("  edges     {}\n", fmt::join(kinds, ", "));
  for (const std::string& warning : graph.warnings()) text += "  warning: " + warning + "\n";
  return text;
}

}  // namespace lmnet
