#pragma once
#include <torch/nn/module.h>

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/block.h"
#include "model/edge.h"
#include "model/graph/layout.h"
#include "model/parameter.h"
#include "model/sequence.h"

namespace lmnet {

/// What a network is made of besides its graph.
struct NetworkShape {
  NetworkShape() = default;
  /// A language head on vertices of one backbone, no prefix.
  NetworkShape(BackboneConfig of_all) : backbone(std::move(of_all)) {}  // NOLINT(google-explicit-constructor)

  BackboneConfig backbone;                       // of the text ends, the edges, and the groups not named below
  std::map<std::string, BackboneConfig> groups;  // vertex groups with a backbone of their own, of the same width
  int64_t prefix = 0;                            // vectors before the tokens of every row
  int64_t classes = 0;                           // 0: the head gives V logits; else so many classes

  bool operator==(const NetworkShape&) const = default;
  const BackboneConfig& of(const std::string& group) const;
  /// The head is the embedding's weight.
  bool tied() const { return backbone.tied && classes == 0; }
  /// The most tokens of a row that the backbone was made for, which the prefix takes its share of; empty = no limit.
  std::optional<int64_t> longest() const {
    return backbone.positions > 0 ? std::optional(backbone.positions - prefix) : std::nullopt;
  }
  /// Rows of the head: V or the classes.
  int64_t outputs() const { return classes > 0 ? classes : backbone.vocabulary; }
};

/// The modules of the parts of a language model network that one rank holds: vertex groups, edges, embedding, head.
/// Walk runs them; here are only weights and their names.
class Network : public torch::nn::Module {
 public:
  /// Edges of one gap that run as one batched product: same kinds, same holders.
  struct EdgeGroup {
    std::vector<int> edges;  // ascending
    std::shared_ptr<EdgeStack> module;
  };

  /// Allocates what `rank` holds by `placement`, uninitialised and without gradients. `options`: bf16, fp32 or fp64, on
  /// a device; on `meta` nothing is allocated. Throws ConfigError where the parts do not fit together.
  Network(NetworkShape shape, Graph graph, const Placement& placement, int rank, at::TensorOptions options);

  const NetworkShape& shape() const { return shape_; }
  const BackboneConfig& backbone() const { return shape_.backbone; }
  const Graph& graph() const { return graph_; }
  at::ScalarType dtype() const { return dtype_; }
  /// In which messages and losses are added: fp32, fp64 for fp64.
  at::ScalarType accumulation_dtype() const { return dtype_ == at::kDouble ? at::kDouble : at::kFloat; }

  /// Every storage of this rank, in an order that all holders of a storage share.
  std::vector<Parameter>& parameter_storage() { return storage_; }
  const std::vector<Parameter>& parameter_storage() const { return storage_; }

  std::span<const EdgeGroup> edge_groups(int source_level) const { return edge_groups_[source_level + 1]; }
  Transformer& vertices(const std::string& group) { return *vertices_.at(group); }
  /// The tokens of a sequence at their positions: [R, T, D].
  at::Tensor embed(const Sequence& sequence) const;
  /// The vectors before the tokens, [prefix, D]; undefined without.
  at::Tensor prefix() const { return prefix_.defined() ? prefix_[0] : at::Tensor(); }
  Parameter& head();

 private:
  void build_ends(const Placement& placement, int rank, at::TensorOptions options);
  void build_edges(const Placement& placement, int rank, at::TensorOptions options);

  NetworkShape shape_;
  Graph graph_;
  at::ScalarType dtype_;
  std::map<std::string, std::shared_ptr<Transformer>> vertices_;
  std::vector<std::vector<EdgeGroup>> edge_groups_;  // by source level + 1
  at::Tensor embedding_, positions_, prefix_;        // [1, V, D], [1, P, D], [1, prefix, D]
  std::vector<Parameter> storage_;
  size_t head_ = 0;  // its place in storage_
};

/// What inspect, the start table and the tests know without allocating: parameters by part, each weight counted once.
struct ParameterCount {
  int64_t vertex = 0;  // one vertex of the main backbone: blocks and final norm
  int64_t vertices = 0, edges = 0, embeddings = 0, head = 0, prefix = 0;
  std::map<std::string, int64_t> edge;  // one edge of each chain of kinds: `block`, `attention+attention`, …
  int64_t total() const { return vertices + edges + embeddings + head + prefix; }
  int64_t trainable(const Trains& trains) const;
};
ParameterCount count_parameters(const NetworkShape& shape, const Graph& graph);

}  // namespace lmnet
