#include "model/network.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace lmnet {
namespace {

bool holds(const Holders& holders, int rank) {
  return std::binary_search(holders.begin(), holders.end(), rank);
}

/// Module names of LibTorch must not have dots.
std::string module_name(std::string name) {
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

}  // namespace

Network::Network(const BackboneConfig& backbone, Graph graph, const Placement& placement, int rank,
                 at::ScalarType dtype)
    : backbone_(backbone), graph_(std::move(graph)), dtype_(dtype) {
  auto end = [&](const char* name, Parameter::Part part, const char* module, const Holders& holders) {
    at::Tensor table = at::empty({1, backbone_.vocabulary, backbone_.hidden_size}, dtype_);
    register_parameter(module, table, /*requires_grad=*/false);
    storage_.push_back({part, Parameter::Initial::normal, holders, table, {}, {{name, 0, 0, backbone_.vocabulary}}});
    return table;
  };
  using enum Parameter::Part;
  if (holds(placement.embedding, rank) || backbone_.tied)
    embedding_ = end("embeddings.tokens.weight", embeddings, "embedding", placement.embedding);
  if (!backbone_.tied) {
    head_ = storage_.size();
    end("head.weight", Parameter::Part::head, "head", placement.head);
  }
  for (const auto& [group, holders] : placement.groups) {
    if (!holds(holders, rank)) continue;
    vertices_[group] =
        register_module(module_name("vertices_" + group), std::make_shared<Transformer>(backbone_, dtype_));
    vertices_[group]->list({{fmt::format("vertices.{}.", group)}, Parameter::Part::vertices, holders}, storage_);
  }
  build_edges(placement, rank);
}

void Network::build_edges(const Placement& placement, int rank) {
  edge_groups_.resize(graph_.levels() + 1);
  for (int level = -1; level < graph_.levels(); ++level) {
    std::map<Holders, std::vector<int>> by_holders;
    for (size_t e = 0; e < graph_.edges().size(); ++e) {
      const Edge& edge = graph_.edges()[e];
      int source = edge.source == Graph::input ? -1 : graph_.level_of(edge.source);
      if (source == level && edge.kind == EdgeKind::block && holds(placement.edges[e], rank))
        by_holders[placement.edges[e]].push_back(static_cast<int>(e));
    }
    for (const auto& [holders, edges] : by_holders) {
      auto module = std::make_shared<EdgeStack>(backbone_, static_cast<int64_t>(edges.size()), dtype_);
      ParameterScope scope{{}, Parameter::Part::edges, holders};
      for (int e : edges) scope.prefixes.push_back(graph_.edges()[e].name + ".");
      register_module(module_name(scope.prefixes.front()), module);
      module->list(scope, storage_);
      edge_groups_[level + 1].push_back({edges, module});
    }
  }
}

at::Tensor Network::embed(const at::Tensor& tokens) const {
  return at::embedding(embedding_[0], tokens);
}

Parameter& Network::head() {
  return storage_[head_];
}

int64_t ParameterCount::trainable(const Trains& trains) const {
  return (trains.vertices ? vertices : 0) + (trains.edges ? edges : 0) + (trains.embeddings ? embeddings : 0) +
         (trains.head ? head : 0);
}

ParameterCount count_parameters(const BackboneConfig& b, const Graph& graph) {
  int64_t d = b.hidden_size;
  int64_t block =
      2 * d + b.qkv_width() * (d + (b.qkv_bias ? 1 : 0)) + b.heads * b.head_width * d + 3 * b.intermediate_size * d;
  std::set<std::string> groups;
  for (const Vertex& vertex : graph.vertices()) groups.insert(vertex.group);
  ParameterCount count;
  count.vertex = b.blocks * block + d;
  count.vertices = static_cast<int64_t>(groups.size()) * count.vertex;
  for (const Edge& edge : graph.edges()) count.edges += edge.kind == EdgeKind::block ? block + d * d + d : 0;
  count.embeddings = b.vocabulary * d;
  count.head = b.tied ? 0 : b.vocabulary * d;
  return count;
}

}  // namespace lmnet
