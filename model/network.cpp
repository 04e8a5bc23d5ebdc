#include "model/network.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "model/graph/errors.h"

namespace lmnet {
namespace {

bool holds(const Holders& holders, int rank) {
  return std::binary_search(holders.begin(), holders.end(), rank);
}

int first_leg(const Graph& graph, const std::string& group) {
  int first = graph.levels();
  for (const Vertex& vertex : graph.vertices())
    if (vertex.group == group) first = std::min(first, vertex.level);
  return vertex_leg(first);
}

/// Module names of LibTorch must not have dots.
std::string module_name(std::string name) {
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

/// Where the document of each token begins: [R, T].
at::Tensor document_begins(const DocumentStarts& documents, const at::Tensor& tokens) {
  at::Tensor begins = at::empty(tokens.sizes(), at::kLong);
  int64_t* begin = begins.data_ptr<int64_t>();
  for (const std::vector<int64_t>& starts : documents)
    for (size_t i = 0; i < starts.size(); ++i)
      begin = std::fill_n(begin, (i + 1 < starts.size() ? starts[i + 1] : tokens.size(1)) - starts[i], starts[i]);
  return begins.to(tokens.device());
}

}  // namespace

const BackboneConfig& NetworkShape::of(const std::string& group) const {
  auto own = groups.find(group);
  return own == groups.end() ? backbone : own->second;
}

Network::Network(NetworkShape shape, Graph graph, const Placement& placement, int rank, at::TensorOptions options)
    : shape_(std::move(shape)), graph_(std::move(graph)), dtype_(c10::typeMetaToScalarType(options.dtype())) {
  build_ends(placement, rank, options);
  for (const auto& [group, holders] : placement.groups) {
    if (!holds(holders, rank)) continue;
    const BackboneConfig& own = shape_.of(group);
    if (own.hidden_size != shape_.backbone.hidden_size)
      throw ConfigError(fmt::format("vertices of group {} have hidden_size {}, the network {}: widths must agree",
                                    group, own.hidden_size, shape_.backbone.hidden_size));
    vertices_[group] = register_module(module_name("vertices_" + group), std::make_shared<Transformer>(own, options));
    vertices_[group]->list(
        {{fmt::format("vertices.{}.", group)}, Parameter::Part::vertices, holders, first_leg(graph_, group)}, storage_);
  }
  build_edges(placement, rank, options);
}

void Network::build_ends(const Placement& placement, int rank, at::TensorOptions options) {
  const BackboneConfig& b = shape_.backbone;
  const Parameter::Initial normal{.spread = b.initializer_range};
  // The reference's: mean and deviation of the embeddings of GPT-2 medium.
  const Parameter::Initial like_embeddings{.mean = 0.0015, .spread = 0.1158};
  const auto add = [&](const char* name, Parameter::Part part, const char* module, const Holders& holders, int64_t rows,
                       Parameter::Initial initial, int leg = 0) {
    at::Tensor table = at::empty({1, rows, b.hidden_size}, options);
    register_parameter(module, table, /*requires_grad=*/false);
    storage_.push_back({part, initial, holders, leg, table, {}, {{name, 0, 0, rows}}});
    return table;
  };
  using enum Parameter::Part;
  const bool embeds = holds(placement.embedding, rank);
  if (embeds || shape_.tied())
    embedding_ = add("embeddings.tokens.weight", embeddings, "embedding", placement.embedding, b.vocabulary, normal);
  if (!shape_.tied()) {
    head_ = storage_.size();
    add("head.weight", Parameter::Part::head, "head", placement.head, shape_.outputs(), normal,
        vertex_leg(graph_.levels()));
  }
  if (embeds && b.gpt2())
    positions_ = add("embeddings.positions.weight", embeddings, "positions", placement.embedding, b.positions, normal);
  if (embeds && shape_.prefix > 0)
    prefix_ = add("embeddings.prefix", Parameter::Part::prefix, "prefix", placement.embedding, shape_.prefix,
                  like_embeddings);
}

void Network::build_edges(const Placement& placement, int rank, at::TensorOptions options) {
  edge_groups_.resize(graph_.levels() + 1);
  for (int level = -1; level < graph_.levels(); ++level) {
    std::map<std::pair<EdgeKinds, Holders>, std::vector<int>> alike;
    for (size_t e = 0; e < graph_.edges().size(); ++e) {
      const Edge& edge = graph_.edges()[e];
      if (graph_.source_level(edge) == level && !edge.kinds.empty() && holds(placement.edges[e], rank))
        alike[{edge.kinds, placement.edges[e]}].push_back(static_cast<int>(e));
    }
    for (const auto& [key, edges] : alike) {
      const auto& [kinds, holders] = key;
      auto module = std::make_shared<EdgeStack>(shape_.backbone, kinds, static_cast<int64_t>(edges.size()), options);
      ParameterScope scope{{}, Parameter::Part::edges, holders};
      scope.leg = vertex_leg(graph_.levels());
      for (int e : edges) {
        const Edge& edge = graph_.edges()[e];
        scope.prefixes.push_back(edge.name + ".");
        // Input edges run with the level that they lead to.
        scope.leg = std::min(scope.leg, level < 0 ? vertex_leg(graph_.level_of(edge.destination)) : edge_leg(level));
      }
      register_module(module_name(scope.prefixes.front()), module);
      module->list(scope, storage_);
      edge_groups_[level + 1].push_back({edges, module});
    }
  }
}

at::Tensor Network::embed(const Sequence& sequence) const {
  const at::Tensor& tokens = sequence.tokens;
  at::Tensor x = at::embedding(embedding_[0], tokens);
  if (!positions_.defined()) return x;
  at::Tensor position = at::arange(tokens.size(1), tokens.options());
  if (!sequence.start.empty()) position = position + at::tensor(sequence.start, tokens.options()).unsqueeze(1);
  if (!sequence.documents.empty()) position = position - document_begins(sequence.documents, tokens);
  return x + at::embedding(positions_[0], position);
}

Parameter& Network::head() {
  return storage_[head_];
}

int64_t ParameterCount::trainable(const Trains& trains) const {
  return (trains.vertices ? vertices : 0) + (trains.edges ? edges : 0) + (trains.embeddings ? embeddings : 0) +
         (trains.head ? head : 0) + (trains.prefix ? prefix : 0);
}

ParameterCount count_parameters(const NetworkShape& shape, const Graph& graph) {
  const Network network(shape, graph, whole_placement(graph), 0, at::TensorOptions(at::kBFloat16).device(at::kMeta));
  ParameterCount count;
  const std::map<Parameter::Part, int64_t*> parts = {{Parameter::Part::edges, &count.edges},
                                                     {Parameter::Part::vertices, &count.vertices},
                                                     {Parameter::Part::embeddings, &count.embeddings},
                                                     {Parameter::Part::head, &count.head},
                                                     {Parameter::Part::prefix, &count.prefix}};
  for (const Parameter& parameter : network.parameter_storage()) *parts.at(parameter.part) += parameter.value.numel();
  const auto numel = [](const torch::nn::Module& module) {
    int64_t sum = 0;
    for (const at::Tensor& value : module.parameters()) sum += value.numel();
    return sum;
  };
  count.vertex = numel(Transformer(shape.backbone, at::TensorOptions(at::kBFloat16).device(at::kMeta)));
  for (int level = -1; level < graph.levels(); ++level)
    for (const Network::EdgeGroup& group : network.edge_groups(level))
      count.edge[to_string(graph.edges()[group.edges.front()].kinds)] =
          numel(*group.module) / static_cast<int64_t>(group.edges.size());
  return count;
}

}  // namespace lmnet
