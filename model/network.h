#pragma once
#include <torch/nn/module.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/block.h"
#include "model/graph/layout.h"
#include "model/parameter.h"

namespace lmnet {

/// The modules of the parts of a language model network that one rank holds: vertex groups, edges, embedding, head.
/// Walk runs them; here are only weights and their names.
class Network : public torch::nn::Module {
 public:
  /// Edges of one gap that run as one batched product: same kind, same holders.
  struct EdgeGroup {
    std::vector<int> edges;  // ascending
    std::shared_ptr<EdgeStack> module;
  };

  /// Allocates what `rank` holds by `placement`, uninitialised and without gradients. `dtype`: bf16, fp32 or fp64.
  Network(const BackboneConfig& backbone, Graph graph, const Placement& placement, int rank, at::ScalarType dtype);

  const BackboneConfig& backbone() const { return backbone_; }
  const Graph& graph() const { return graph_; }
  at::ScalarType dtype() const { return dtype_; }
  /// In which messages and losses are added: fp32, fp64 for fp64.
  at::ScalarType accumulation_dtype() const { return dtype_ == at::kDouble ? at::kDouble : at::kFloat; }

  /// Every storage of this rank, in an order that all holders of a storage share.
  std::vector<Parameter>& parameter_storage() { return storage_; }
  const std::vector<Parameter>& parameter_storage() const { return storage_; }

  std::span<const EdgeGroup> edge_groups(int source_level) const { return edge_groups_[source_level + 1]; }
  Transformer& vertices(const std::string& group) { return *vertices_.at(group); }
  /// tokens [R, T] → [R, T, D].
  at::Tensor embed(const at::Tensor& tokens) const;
  Parameter& head();

 private:
  void build_edges(const Placement& placement, int rank);

  BackboneConfig backbone_;
  Graph graph_;
  at::ScalarType dtype_;
  std::map<std::string, std::shared_ptr<Transformer>> vertices_;
  std::vector<std::vector<EdgeGroup>> edge_groups_;  // by source level + 1
  at::Tensor embedding_;
  std::vector<Parameter> storage_;
  size_t head_ = 0;  // its place in storage_
};

/// What inspect, the start table and the tests know without allocating: parameters by part, each weight counted once.
struct ParameterCount {
  int64_t vertex = 0;  // one vertex: blocks and final norm
  int64_t vertices = 0, edges = 0, embeddings = 0, head = 0;
  int64_t total() const { return vertices + edges + embeddings + head; }
  int64_t trainable(const Trains& trains) const;
};
ParameterCount count_parameters(const BackboneConfig& backbone, const Graph& graph);

}  // namespace lmnet
