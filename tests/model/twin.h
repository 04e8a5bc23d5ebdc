#pragma once
#include <ATen/ATen.h>

#include <map>
#include <string>

#include "model/network.h"
#include "model/sequence.h"

namespace lmnet::test {

/// Tensors by canonical parameter name.
using Tensors = std::map<std::string, at::Tensor>;

/// What Network and Walk compute, written down as plainly as possible: vertex after vertex, edge after edge, composite
/// operators, one autograd graph from the tokens to the loss.
class Twin {
 public:
  /// Computes with `weights` themselves, so that gradients arrive where they require some.
  Twin(const BackboneConfig& backbone, const Graph& graph, const Tensors& weights)
      : backbone_(backbone), graph_(graph), weights_(weights) {}

  /// What the head reads: [B, T, D].
  at::Tensor hidden(const at::Tensor& tokens) const;
  /// Σ -log p(target) over the targets that count: a scalar.
  at::Tensor loss(const Sequence& sequence) const;

 private:
  at::Tensor linear(const at::Tensor& x, const std::string& name) const;
  at::Tensor norm(const at::Tensor& x, const std::string& name) const;
  at::Tensor rotate(const at::Tensor& x) const;
  at::Tensor attention(const at::Tensor& x, const std::string& prefix) const;
  at::Tensor block(const at::Tensor& x, const std::string& prefix) const;
  at::Tensor vertex(at::Tensor x, const std::string& group) const;
  at::Tensor edge(const at::Tensor& x, const Edge& edge) const;

  const BackboneConfig& backbone_;
  const Graph& graph_;
  const Tensors& weights_;
};

/// A backbone that computes in no time: 2 blocks, D = 8, H = 4 of width 2, G = 2, F = 12, V = 11.
BackboneConfig tiny_backbone(const std::string& model_type = "qwen2", bool tied = true);

/// Tokens and targets drawn from `seed`; of the targets about two thirds count when `masked`.
Sequence random_sequence(int64_t rows, int64_t length, int64_t vocabulary, bool masked, uint64_t seed = 1);

/// Draws every parameter, norms and biases too. The default size is so large that no part is nearly linear.
void randomise(Network& network, uint64_t seed = 1, double size = 0.3);

/// Makes the parameters of `stage` train, the others not, with gradients of zero.
void bind_gradients(Network& network, const Trains& stage);

Tensors weights_of(const Network& network);    // copies in fp64 on the host
Tensors gradients_of(const Network& network);  // copies in fp64 on the host, of the parameters that train

/// Largest difference over largest value, tensor by tensor (absolute where `expected` is zero), is below `tolerance`.
void expect_close(const Tensors& actual, const Tensors& expected, double tolerance);

/// loss_and_gradients() and loss() of one process on the whole batch.
double walk_gradients(Network& network, const Sequence& sequence, const Trains& stage, double scale = 1);
double walk_loss(Network& network, const Sequence& sequence);

/// The gradients of scale · loss by the twin, for the parts of `stage`; `loss` gets the loss.
Tensors twin_gradients(const Network& network, const Sequence& sequence, const Trains& stage, double scale,
                       double& loss);

}  // namespace lmnet::test
