#include "model/block.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "model/kernels/kernels.h"

namespace lmnet {
namespace {

at::Tensor pick(const at::Tensor& stacked, const StackItems& items) {
  if (items.empty() || !stacked.defined()) return stacked;
  return stacked.index_select(0, at::tensor(items, at::kLong));
}

struct Slot {
  const char* name;
  int64_t length;
};

/// Adds one storage, whose rows are the named slots one after the other, for every stacked module.
void add(const ParameterScope& scope, const at::Tensor& value, std::initializer_list<Slot> slots,
         Parameter::Initial initial, std::vector<Parameter>& parameters) {
  if (!value.defined()) return;
  Parameter parameter{scope.part, initial, scope.holders, value, {}, {}};
  for (size_t e = 0; e < scope.prefixes.size(); ++e) {
    int64_t offset = 0;
    for (const Slot& slot : slots) {
      parameter.views.push_back({scope.prefixes[e] + slot.name, static_cast<int64_t>(e), offset, slot.length});
      offset += slot.length;
    }
  }
  parameters.push_back(std::move(parameter));
}

ParameterScope inside(ParameterScope scope, const std::string& name) {
  for (std::string& prefix : scope.prefixes) prefix += name;
  return scope;
}

}  // namespace

Rotary Rotary::tables(const BackboneConfig& backbone, int64_t length, at::ScalarType dtype) {
  at::Tensor exponent = at::arange(0, backbone.head_width, 2, at::kDouble) / static_cast<double>(backbone.head_width);
  at::Tensor frequency = at::pow(backbone.rope_theta, -exponent);
  at::Tensor angle = at::outer(at::arange(length, at::kDouble), frequency);
  angle = at::cat({angle, angle}, 1);
  at::ScalarType table = dtype == at::kDouble ? at::kDouble : at::kFloat;
  return {angle.cos().to(table), angle.sin().to(table)};
}

at::Tensor stacked_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  if (weight.size(0) == 1) return at::linear(x[0], weight[0], bias.defined() ? bias[0] : at::Tensor()).unsqueeze(0);
  if (bias.defined()) return at::baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2));
  return at::bmm(x, weight.transpose(1, 2));
}

Block::Block(const BackboneConfig& b, int64_t stack, at::ScalarType dtype) : backbone_(b) {
  auto make = [&](const char* name, at::IntArrayRef shape) {
    return register_parameter(name, at::empty(shape, dtype), /*requires_grad=*/false);
  };
  attention_norm_ = make("attention_norm", {stack, b.hidden_size});
  qkv_ = make("qkv", {stack, b.qkv_width(), b.hidden_size});
  if (b.qkv_bias) qkv_bias_ = make("qkv_bias", {stack, b.qkv_width()});
  output_ = make("output", {stack, b.hidden_size, b.heads * b.head_width});
  mlp_norm_ = make("mlp_norm", {stack, b.hidden_size});
  gate_up_ = make("gate_up", {stack, 2 * b.intermediate_size, b.hidden_size});
  down_ = make("down", {stack, b.hidden_size, b.intermediate_size});
}

at::Tensor Block::forward(const at::Tensor& input, const Rotary& rotary, const StackItems& items) {
  const BackboneConfig& b = backbone_;
  int64_t e = input.size(0), rows = input.size(1), t = input.size(2);
  at::Tensor x = input.reshape({e, rows * t, b.hidden_size});
  at::Tensor n = rms_norm(x, pick(attention_norm_, items), b.norm_eps);
  at::Tensor qkv = stacked_linear(n, pick(qkv_, items), pick(qkv_bias_, items));
  auto [q, k, v] =
      qkv_rotary(qkv.view({e * rows, t, b.qkv_width()}), rotary.cos, rotary.sin, b.heads, b.kv_heads, b.head_width);
  at::Tensor a = at::scaled_dot_product_attention(q, k, v, std::nullopt, 0.0, /*is_causal=*/true, std::nullopt,
                                                  /*enable_gqa=*/b.heads != b.kv_heads);
  a = a.transpose(1, 2).reshape({e, rows * t, b.heads * b.head_width});
  x = x + stacked_linear(a, pick(output_, items));
  at::Tensor hidden = stacked_linear(rms_norm(x, pick(mlp_norm_, items), b.norm_eps), pick(gate_up_, items));
  x = x + stacked_linear(swiglu(hidden), pick(down_, items));
  return x.view({e, rows, t, b.hidden_size});
}

void Block::list(const ParameterScope& scope, std::vector<Parameter>& parameters) const {
  const BackboneConfig& b = backbone_;
  int64_t q = b.heads * b.head_width, kv = b.kv_heads * b.head_width, d = b.hidden_size, f = b.intermediate_size;
  using enum Parameter::Initial;
  add(scope, attention_norm_, {{"attention_norm.weight", d}}, ones, parameters);
  add(scope, qkv_, {{"attention.q.weight", q}, {"attention.k.weight", kv}, {"attention.v.weight", kv}}, normal,
      parameters);
  add(scope, qkv_bias_, {{"attention.q.bias", q}, {"attention.k.bias", kv}, {"attention.v.bias", kv}}, zeros,
      parameters);
  add(scope, output_, {{"attention.o.weight", d}}, normal, parameters);
  add(scope, mlp_norm_, {{"mlp_norm.weight", d}}, ones, parameters);
  add(scope, gate_up_, {{"mlp.gate.weight", f}, {"mlp.up.weight", f}}, normal, parameters);
  add(scope, down_, {{"mlp.down.weight", d}}, normal, parameters);
}

Transformer::Transformer(const BackboneConfig& backbone, at::ScalarType dtype) : norm_eps_(backbone.norm_eps) {
  for (int64_t i = 0; i < backbone.blocks; ++i)
    blocks_.push_back(register_module(fmt::format("blocks_{}", i), std::make_shared<Block>(backbone, 1, dtype)));
  norm_ = register_parameter("norm", at::empty({1, backbone.hidden_size}, dtype), /*requires_grad=*/false);
}

at::Tensor Transformer::forward(const at::Tensor& input, const Rotary& rotary) {
  at::Tensor x = input.unsqueeze(0);
  for (const auto& block : blocks_) x = block->forward(x, rotary);
  return rms_norm(x.view({1, -1, x.size(3)}), norm_, norm_eps_).view(input.sizes());
}

void Transformer::list(const ParameterScope& scope, std::vector<Parameter>& parameters) const {
  for (size_t i = 0; i < blocks_.size(); ++i) blocks_[i]->list(inside(scope, fmt::format("blocks.{}.", i)), parameters);
  add(scope, norm_, {{"norm.weight", norm_.size(1)}}, Parameter::Initial::ones, parameters);
}

EdgeStack::EdgeStack(const BackboneConfig& backbone, int64_t stack, at::ScalarType dtype) {
  int64_t d = backbone.hidden_size;
  block_ = register_module("block", std::make_shared<Block>(backbone, stack, dtype));
  fc_ = register_parameter("fc", at::empty({stack, d, d}, dtype), /*requires_grad=*/false);
  fc_bias_ = register_parameter("fc_bias", at::empty({stack, d}, dtype), /*requires_grad=*/false);
}

at::Tensor EdgeStack::forward(const at::Tensor& x, const Rotary& rotary, const StackItems& items) {
  at::Tensor y = block_->forward(x, rotary, items);
  return stacked_linear(y.view({y.size(0), -1, y.size(3)}), pick(fc_, items), pick(fc_bias_, items)).view(x.sizes());
}

void EdgeStack::list(const ParameterScope& scope, std::vector<Parameter>& parameters) const {
  block_->list(inside(scope, "block."), parameters);
  add(scope, fc_, {{"fc.weight", fc_.size(1)}}, Parameter::Initial::normal, parameters);
  add(scope, fc_bias_, {{"fc.bias", fc_bias_.size(1)}}, Parameter::Initial::zeros, parameters);
}

}  // namespace lmnet
