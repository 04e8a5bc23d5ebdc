#include "trainer/describe.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>

#include "model/network.h"

namespace lmnet {

std::string short_count(double count) {
  if (count >= 1e9) return fmt::format("{:.3g} G", count / 1e9);
  if (count >= 1e6) return fmt::format("{:.3g} M", count / 1e6);
  if (count >= 1e4) return fmt::format("{:.3g} k", count / 1e3);
  return fmt::format("{:.0f}", count);
}

std::string gib(double bytes) {
  return fmt::format("{:.2f} GiB", bytes / (1 << 30));
}

double peak_memory_gib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::stod(line.substr(6)) / (1 << 20);
  return 0;
}

std::string parameter_table(const ModelSpec& spec, const std::vector<StageConfig>& stages) {
  ParameterCount count = count_parameters(spec.backbone, spec.graph);
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
  return text + fmt::format("  {:<11}{:>16}\n", "total", count.total());
}

int64_t weight_bytes(const ModelSpec& spec, const Plan& plan, const Trains& trains) {
  ParameterCount count = count_parameters(spec.backbone, spec.graph);
  int64_t width = at::elementSize(spec.dtype), master = spec.dtype == at::kDouble ? 8 : 4;
  // Gradient, two moments, and in bf16 a master weight beside the rounded copy.
  int64_t training = width + 3 * master + (spec.dtype == at::kBFloat16 ? master : 0);
  std::vector<int64_t> bytes(plan.vertex_parallel(), 0);
  auto add = [&](const Holders& holders, int64_t parameters, bool training_now) {
    for (int rank : holders) bytes[rank] += parameters * (training_now ? training : width);
  };
  const Placement& placement = plan.placement();
  int64_t blocks = 0;
  for (const Edge& edge : spec.graph.edges()) blocks += edge.kind == EdgeKind::block;
  for (const auto& [group, holders] : placement.groups) add(holders, count.vertex, trains.vertices);
  for (size_t e = 0; e < placement.edges.size(); ++e)
    if (spec.graph.edges()[e].kind == EdgeKind::block) add(placement.edges[e], count.edges / blocks, trains.edges);
  add(placement.embedding, count.embeddings, trains.embeddings);
  add(placement.head, count.head, trains.head);
  return *std::max_element(bytes.begin(), bytes.end());
}

double training_flops_per_token(const ModelSpec& spec, const Trains& trains, int64_t sequence_length) {
  const BackboneConfig& b = spec.backbone;
  const Graph& graph = spec.graph;
  auto d = static_cast<double>(b.hidden_size);
  double block = d * static_cast<double>(b.qkv_width()) + d * static_cast<double>(b.heads * b.head_width) +
                 3 * d * static_cast<double>(b.intermediate_size);
  // Causal attention: scores and values, half of the square on average.
  double attention = 2 * static_cast<double>(b.heads * b.head_width * sequence_length) / 2 * 2;
  auto flops = [](double weights, bool trained, bool backward) {
    return weights * (2 + (backward ? 2 : 0) + (trained ? 2 : 0));
  };
  double total = 0;
  std::vector<bool> before(graph.vertices().size() + 1,
                           false);  // whether what a vertex (or the head) reads depends on what trains
  auto add_edge = [&](const Edge& edge) {
    bool source = edge.source == Graph::input ? trains.embeddings : trains.vertices || before[edge.source];
    bool trained = trains.edges && edge.kind == EdgeKind::block;
    before[edge.destination] = before[edge.destination] || source || trained;
    if (edge.kind == EdgeKind::block)
      total += flops(block + d * d, trained, source || trained) + attention * (source || trained ? 3 : 1);
  };
  for (int vertex = 0; vertex <= graph.head(); ++vertex) {
    for (int e : graph.edges_into(vertex)) add_edge(graph.edges()[e]);
    if (vertex == graph.head()) break;
    bool backward = trains.vertices || before[vertex];
    total += static_cast<double>(b.blocks) * (flops(block, trains.vertices, backward) + attention * (backward ? 3 : 1));
  }
  return total +
         flops(d * static_cast<double>(b.vocabulary), b.tied ? trains.embeddings : trains.head, before[graph.head()]);
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
        sources.push_back(edge.kind == EdgeKind::block ? source : "=" + source);
      }
      from.push_back(fmt::format("{} ← {}", head ? "head" : graph.vertices()[vertex].name, fmt::join(sources, " ")));
    }
    text += fmt::format("{}\n", fmt::join(from, " · "));
  }
  for (const std::string& warning : graph.warnings()) text += "  warning: " + warning + "\n";
  return text;
}

}  // namespace lmnet
