#pragma once
#include <torch/nn/module.h>

#include <string>
#include <vector>

#include "model/attention.h"
#include "model/backbone.h"
#include "model/parameter.h"

namespace lmnet {

/// Which of a stack's E modules a call runs, ascending; empty = all of them.
using StackItems = std::vector<int64_t>;
/// Those items of stacked [E, …]; itself when undefined or all are meant.
at::Tensor pick(const at::Tensor& stacked, const StackItems& items);

/// y = x·Wᵀ + b for a stack: x [E, M, in], weight [E, out, in], bias [E, out] or undefined → [E, M, out]. `one_token`:
/// a row is one token of a sequence; without gradients it then does not depend on how many others there are.
at::Tensor stacked_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias = {},
                          bool one_token = false);
/// GELU, with the tanh formula or exact. `one_token` as above.
at::Tensor gelu(const at::Tensor& x, bool tanh, bool one_token);
/// LayerNorm over the last dimension for a stack: x [E, M, D], weight and bias [E, D] → [E, M, D].
at::Tensor stacked_layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double eps);

/// A backbone's norm for a stack: RMSNorm, or LayerNorm with a bias (gpt2).
class Norm : public torch::nn::Module {
 public:
  Norm(const BackboneConfig& backbone, int64_t stack, at::TensorOptions options);
  /// x [E, M, D] → [E, M, D].
  at::Tensor forward(const at::Tensor& x, const StackItems& items = {}) const;
  void list(const ParameterScope& scope, std::vector<Parameter>& parameters) const;

 private:
  double eps_;
  at::Tensor weight_, bias_;
};

/// E equal transformer blocks of a backbone's family that run as one batched product:
/// x += o(attention(rotary(qkv(norm(x))))), x += mlp(norm(x));
/// llama, qwen2: mlp(n) = down(silu(gate(n))·up(n)); gpt2: down(gelu_tanh(up(n))), biases everywhere, no rotary.
class Block : public torch::nn::Module {
 public:
  Block(const BackboneConfig& backbone, int64_t stack, at::TensorOptions options);

  /// x [E, R, T, D] → [E, R, T, D], E = number of `items` (all when empty). `cached`: of a generation.
  at::Tensor forward(const at::Tensor& x, const Steps& steps, const StackItems& items = {},
                     KeyValues* cached = nullptr);

  void list(const ParameterScope& scope, std::vector<Parameter>& parameters) const;

 private:
  BackboneConfig backbone_;
  std::shared_ptr<Norm> attention_norm_, mlp_norm_;
  at::Tensor qkv_, qkv_bias_, output_, output_bias_;
  at::Tensor up_, up_bias_, down_, down_bias_;  // llama, qwen2: `up_` holds gate and up
};

/// A stripped backbone: its blocks and the final norm.
class Transformer : public torch::nn::Module {
 public:
  Transformer(const BackboneConfig& backbone, at::TensorOptions options);
  const BackboneConfig& backbone() const { return backbone_; }
  /// x [R, T, D] → [R, T, D]. `cached`: one for each block, made at first use.
  at::Tensor forward(const at::Tensor& x, const Steps& steps, std::vector<KeyValues>* cached = nullptr);
  void list(const ParameterScope& scope, std::vector<Parameter>& parameters) const;

 private:
  BackboneConfig backbone_;
  std::vector<std::shared_ptr<Block>> blocks_;
  std::shared_ptr<Norm> norm_;
};

}  // namespace lmnet
