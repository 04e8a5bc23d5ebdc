#include "model/block.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <array>
#include <cmath>

#include "model/kernels/kernels.h"

namespace lmnet {

at::Tensor pick(const at::Tensor& stacked, const StackItems& items) {
  if (items.empty() || !stacked.defined()) return stacked;
  const auto count = static_cast<int64_t>(items.size());
  if (items.back() - items.front() == count - 1) return stacked.narrow(0, items.front(), count);
  // An index would have to travel to the device first, which the host would wait for.
  const std::vector<at::Tensor> modules = stacked.unbind(0);
  std::vector<at::Tensor> picked;
  for (const int64_t item : items) picked.push_back(modules[item]);
  return at::stack(picked);
}

at::Tensor stacked_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, bool one_token) {
  if (one_token && !at::GradMode::is_enabled()) return linear_few_rows(x, weight, bias);
  if (weight.size(0) == 1) return at::linear(x[0], weight[0], bias.defined() ? bias[0] : at::Tensor()).unsqueeze(0);
  if (bias.defined()) return at::baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2));
  return at::bmm(x, weight.transpose(1, 2));
}

at::Tensor gelu(const at::Tensor& x, bool tanh, bool one_token) {
  const char* formula = tanh ? "tanh" : "none";
  const int64_t width = x.size(-1);
  if (!one_token || !x.is_cpu() || at::GradMode::is_enabled() || x.numel() == width) return at::gelu(x, formula);
  // ATen rounds the elements at the end of a thread's share in another way than those before.
  at::Tensor y = at::empty_like(x);
  at::Tensor rows = y.view({-1, width});
  const at::Tensor inputs = x.reshape({-1, width});
  for (int64_t row = 0; row < inputs.size(0); ++row) {
    at::Tensor to = rows[row];
    at::gelu_out(to, inputs[row], formula);
  }
  return y;
}

at::Tensor stacked_layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double eps) {
  const int64_t width = x.size(2);
  if (weight.size(0) == 1) return at::layer_norm(x, {width}, weight[0], bias[0], eps);
  return at::addcmul(bias.unsqueeze(1), at::layer_norm(x, {width}, {}, {}, eps), weight.unsqueeze(1));
}

Norm::Norm(const BackboneConfig& backbone, int64_t stack, at::TensorOptions options) : eps_(backbone.norm_eps) {
  const std::array<int64_t, 2> shape = {stack, backbone.hidden_size};
  weight_ = register_parameter("weight", at::empty(shape, options), /*requires_grad=*/false);
  if (backbone.gpt2()) bias_ = register_parameter("bias", at::empty(shape, options), /*requires_grad=*/false);
}

at::Tensor Norm::forward(const at::Tensor& x, const StackItems& items) const {
  if (bias_.defined()) return stacked_layer_norm(x, pick(weight_, items), pick(bias_, items), eps_);
  return rms_norm(x, pick(weight_, items), eps_);
}

void Norm::list(const ParameterScope& scope, std::vector<Parameter>& parameters) const {
  scope.add(weight_, {{"weight", weight_.size(1)}}, Parameter::Initial::ones(), parameters);
  if (bias_.defined()) scope.add(bias_, {{"bias", bias_.size(1)}}, Parameter::Initial::zeros(), parameters);
}

Block::Block(const BackboneConfig& b, int64_t stack, at::TensorOptions options) : backbone_(b) {
  const int64_t d = b.hidden_size, q = b.heads * b.head_width, f = b.intermediate_size;
  const auto make = [&](const char* name, at::IntArrayRef shape) {
    return register_parameter(name, at::empty(shape, options), /*requires_grad=*/false);
  };
  attention_norm_ = register_module("attention_norm", std::make_shared<Norm>(b, stack, options));
  qkv_ = make("qkv", {stack, b.qkv_width(), d});
  if (b.qkv_bias) qkv_bias_ = make("qkv_bias", {stack, b.qkv_width()});
  output_ = make("output", {stack, d, q});
  mlp_norm_ = register_module("mlp_norm", std::make_shared<Norm>(b, stack, options));
  up_ = make("up", {stack, b.gpt2() ? f : 2 * f, d});
  down_ = make("down", {stack, d, f});
  if (!b.gpt2()) return;
  output_bias_ = make("output_bias", {stack, d});
  up_bias_ = make("up_bias", {stack, f});
  down_bias_ = make("down_bias", {stack, d});
}

at::Tensor Block::forward(const at::Tensor& input, const Steps& steps, const StackItems& items, KeyValues* cached) {
  const BackboneConfig& b = backbone_;
  const int64_t e = input.size(0), rows = input.size(1), t = input.size(2);
  at::Tensor x = input.reshape({e, rows * t, b.hidden_size});
  const at::Tensor qkv =
      stacked_linear(attention_norm_->forward(x, items), pick(qkv_, items), pick(qkv_bias_, items), t == 1);
  const Heads heads =
      split_heads(qkv.view({e * rows, t, b.qkv_width()}), steps.rotary, b.heads, b.kv_heads, b.head_width);
  const at::Tensor a = attend(heads, 1 / std::sqrt(static_cast<double>(b.head_width)), steps, cached);
  x = x + stacked_linear(a.view({e, rows * t, b.heads * b.head_width}), pick(output_, items), pick(output_bias_, items),
                         t == 1);
  const at::Tensor up = stacked_linear(mlp_norm_->forward(x, items), pick(up_, items), pick(up_bias_, items), t == 1);
  x = x + stacked_linear(b.gpt2() ? gelu(up, /*tanh=*/true, t == 1) : swiglu(up), pick(down_, items),
                         pick(down_bias_, items), t == 1);
  return x.view({e, rows, t, b.hidden_size});
}

void Block::list(const ParameterScope& scope, std::vector<Parameter>& parameters) const {
  const BackboneConfig& b = backbone_;
  const int64_t q = b.heads * b.head_width, kv = b.kv_heads * b.head_width, d = b.hidden_size, f = b.intermediate_size;
  const Parameter::Initial normal{.spread = b.initializer_range}, zeros = Parameter::Initial::zeros();
  attention_norm_->list(scope.inside("attention_norm."), parameters);
  scope.add(qkv_, {{"attention.q.weight", q}, {"attention.k.weight", kv}, {"attention.v.weight", kv}}, normal,
            parameters);
  scope.add(qkv_bias_, {{"attention.q.bias", q}, {"attention.k.bias", kv}, {"attention.v.bias", kv}}, zeros,
            parameters);
  scope.add(output_, {{"attention.o.weight", d}}, normal, parameters);
  scope.add(output_bias_, {{"attention.o.bias", d}}, zeros, parameters);
  mlp_norm_->list(scope.inside("mlp_norm."), parameters);
  if (b.gpt2())
    scope.add(up_, {{"mlp.up.weight", f}}, normal, parameters);
  else
    scope.add(up_, {{"mlp.gate.weight", f}, {"mlp.up.weight", f}}, normal, parameters);
  scope.add(up_bias_, {{"mlp.up.bias", f}}, zeros, parameters);
  scope.add(down_, {{"mlp.down.weight", d}}, normal, parameters);
  scope.add(down_bias_, {{"mlp.down.bias", d}}, zeros, parameters);
}

Transformer::Transformer(const BackboneConfig& backbone, at::TensorOptions options) : backbone_(backbone) {
  for (int64_t i = 0; i < backbone.blocks; ++i)
    blocks_.push_back(register_module(fmt::format("blocks_{}", i), std::make_shared<Block>(backbone, 1, options)));
  norm_ = register_module("norm", std::make_shared<Norm>(backbone, 1, options));
}

at::Tensor Transformer::forward(const at::Tensor& input, const Steps& steps, std::vector<KeyValues>* cached) {
  if (cached != nullptr) cached->resize(blocks_.size());
  at::Tensor x = input.unsqueeze(0);
  for (size_t i = 0; i < blocks_.size(); ++i)
    x = blocks_[i]->forward(x, steps, {}, cached == nullptr ? nullptr : &(*cached)[i]);
  return norm_->forward(x.view({1, -1, x.size(3)})).view(input.sizes());
}

void Transformer::list(const ParameterScope& scope, std::vector<Parameter>& parameters) const {
  for (size_t i = 0; i < blocks_.size(); ++i) blocks_[i]->list(scope.inside(fmt::format("blocks.{}.", i)), parameters);
  norm_->list(scope.inside("norm."), parameters);
}

}  // namespace lmnet
