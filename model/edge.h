#pragma once
#include <torch/nn/module.h>

#include <memory>
#include <vector>

#include "model/block.h"
#include "model/graph/graph.h"

namespace lmnet {

/// One link of E stacked edges: a small trainable sequence module (EdgeKind says which).
class Link : public torch::nn::Module {
 public:
  /// x [E, R, T, D] → [E, R, T, D]. `cached`: of a generation, for links with attention.
  virtual at::Tensor forward(const at::Tensor& x, const Steps& steps, const StackItems& items, KeyValues* cached) = 0;
  virtual void list(const ParameterScope& scope, std::vector<Parameter>& parameters) const = 0;
};

/// E edges of the same chain of links that run as one batched product.
class EdgeStack : public torch::nn::Module {
 public:
  /// Attention heads and shapes of a block are the backbone's. Throws ConfigError where a kind does not fit its width.
  EdgeStack(const BackboneConfig& backbone, const EdgeKinds& kinds, int64_t stack, at::TensorOptions options);
  /// x [E, R, T, D] → [E, R, T, D]. `cached`: one for each link, made at first use.
  at::Tensor forward(const at::Tensor& x, const Steps& steps, const StackItems& items = {},
                     std::vector<KeyValues>* cached = nullptr);
  /// A chain's names have `links.I.`, a single link's have not.
  void list(const ParameterScope& scope, std::vector<Parameter>& parameters) const;

 private:
  std::vector<std::shared_ptr<Link>> links_;
};

}  // namespace lmnet
