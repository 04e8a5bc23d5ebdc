#pragma once
#include <torch/nn/module.h>

#include <string>
#include <vector>

#include "model/backbone.h"
#include "model/parameter.h"

namespace lmnet {

/// Cosines and sines of the rotary positions 0…T-1: [T, K] each, fp32 (fp64 for fp64).
struct Rotary {
  at::Tensor cos, sin;
  static Rotary tables(const BackboneConfig& backbone, int64_t length, at::ScalarType dtype);
};

/// Which of a stack's E modules a call runs; empty = all of them.
using StackItems = std::vector<int64_t>;

/// Where a module's storage goes when Network lists its parameters: the canonical prefix of each stacked module.
struct ParameterScope {
  std::vector<std::string> prefixes;  // E names such as `edges.1.0-3.`
  Parameter::Part part;
  Holders holders;
};

/// y = x·Wᵀ + b for a stack: x [E, M, in], weight [E, out, in], bias [E, out] or undefined → [E, M, out].
at::Tensor stacked_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias = {});

/// E equal transformer blocks of the Llama/Qwen2 family that run as one batched product:
/// x += o(attention(rotary(qkv(norm(x))))), x += down(silu(gate(n))·up(n)) with n = norm(x).
class Block : public torch::nn::Module {
 public:
  Block(const BackboneConfig& backbone, int64_t stack, at::ScalarType dtype);

  /// x [E, R, T, D] → [E, R, T, D], E = number of `items` (all when empty).
  at::Tensor forward(const at::Tensor& x, const Rotary& rotary, const StackItems& items = {});

  void list(const ParameterScope& scope, std::vector<Parameter>& parameters) const;

 private:
  BackboneConfig backbone_;
  at::Tensor attention_norm_, qkv_, qkv_bias_, output_, mlp_norm_, gate_up_, down_;
};

/// A stripped backbone: its blocks and the final norm.
class Transformer : public torch::nn::Module {
 public:
  Transformer(const BackboneConfig& backbone, at::ScalarType dtype);
  /// x [R, T, D] → [R, T, D].
  at::Tensor forward(const at::Tensor& x, const Rotary& rotary);
  void list(const ParameterScope& scope, std::vector<Parameter>& parameters) const;

 private:
  double norm_eps_;
  std::vector<std::shared_ptr<Block>> blocks_;
  at::Tensor norm_;
};

/// E edges of kind `block` (reference class WBlock1): one backbone block, then a D×D linear with bias.
class EdgeStack : public torch::nn::Module {
 public:
  EdgeStack(const BackboneConfig& backbone, int64_t stack, at::ScalarType dtype);
  /// x [E, R, T, D] → [E, R, T, D].
  at::Tensor forward(const at::Tensor& x, const Rotary& rotary, const StackItems& items = {});
  void list(const ParameterScope& scope, std::vector<Parameter>& parameters) const;

 private:
  std::shared_ptr<Block> block_;
  at::Tensor fc_, fc_bias_;
};

}  // namespace lmnet
