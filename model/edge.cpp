#include "model/edge.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>

#include "model/graph/errors.h"

namespace lmnet {
namespace {

using Initial = Parameter::Initial;

/// W·x + b for a stack, with its place in the list of parameters.
struct Linear {
  at::Tensor weight, bias;  // [E, out, in], [E, out]

  Linear(torch::nn::Module& owner, const std::string& name, at::IntArrayRef shape, at::TensorOptions options)
      : weight(owner.register_parameter(name, at::empty(shape, options), /*requires_grad=*/false)),
        bias(owner.register_parameter(name + "_bias", at::empty(shape.slice(0, 2), options), /*requires_grad=*/false)) {
  }

  /// x [E, R, T, in] → [E, R, T, out].
  at::Tensor operator()(const at::Tensor& x, const StackItems& items) const {
    const at::Tensor y =
        stacked_linear(x.reshape({x.size(0), -1, x.size(3)}), pick(weight, items), pick(bias, items), x.size(2) == 1);
    return y.view({x.size(0), x.size(1), x.size(2), y.size(2)});
  }

  void list(const ParameterScope& scope, const std::vector<std::string>& parts, Initial of_weight, Initial of_bias,
            std::vector<Parameter>& parameters) const {
    const auto slots = [&](const char* kind) {
      std::vector<std::string> names;
      for (const std::string& part : parts) names.push_back(part + kind);
      return names;
    };
    const int64_t rows = weight.size(1) / static_cast<int64_t>(parts.size());
    for (const auto& [value, kind, initial] :
         {std::tuple{weight, ".weight", of_weight}, std::tuple{bias, ".bias", of_bias}}) {
      const std::vector<std::string> names = slots(kind);
      std::vector<ParameterScope::Slot> named;
      for (const std::string& name : names) named.push_back({name.c_str(), rows});
      scope.add(value, named, initial, parameters);
    }
  }
};

/// Reference class WBlock1: one backbone block, then a linear.
class BlockLink final : public Link {
 public:
  BlockLink(const BackboneConfig& backbone, int64_t stack, at::TensorOptions options)
      : initial_{.spread = backbone.initializer_range},
        block_(register_module("block", std::make_shared<Block>(backbone, stack, options))),
        fc_(*this, "fc", {stack, backbone.hidden_size, backbone.hidden_size}, options) {}
  at::Tensor forward(const at::Tensor& x, const Steps& steps, const StackItems& items, KeyValues* cached) override {
    return fc_(block_->forward(x, steps, items, cached), items);
  }
  void list(const ParameterScope& scope, std::vector<Parameter>& parameters) const override {
    block_->list(scope.inside("block."), parameters);
    fc_.list(scope, {"fc"}, initial_, Initial::zeros(), parameters);
  }

 private:
  Initial initial_;
  std::shared_ptr<Block> block_;
  Linear fc_;
};

/// Reference class WBlock: y = x + attention(x), unscaled and without positions; y + gelu(W·LN(y) + b), the exact GELU.
class AttentionLink final : public Link {
 public:
  AttentionLink(const BackboneConfig& backbone, int64_t stack, at::TensorOptions options)
      : heads_(backbone.heads),
        qkv_(*this, "qkv", {stack, 3 * backbone.hidden_size, backbone.hidden_size}, options),
        output_(*this, "output", {stack, backbone.hidden_size, backbone.hidden_size}, options),
        norm_weight_(register_parameter("norm", at::empty({stack, backbone.hidden_size}, options), false)),
        norm_bias_(register_parameter("norm_bias", at::empty({stack, backbone.hidden_size}, options), false)),
        mlp_(*this, "mlp", {stack, backbone.hidden_size, backbone.hidden_size}, options) {}

  at::Tensor forward(const at::Tensor& x, const Steps& steps, const StackItems& items, KeyValues* cached) override {
    const int64_t e = x.size(0), rows = x.size(1), t = x.size(2), d = x.size(3);
    const Heads heads = split_heads(qkv_(x, items).view({e * rows, t, 3 * d}), Rotary{}, heads_, heads_, d / heads_);
    const at::Tensor y = x + output_(attend(heads, 1.0, steps, cached).view(x.sizes()), items);
    const at::Tensor n =
        stacked_layer_norm(y.reshape({e, rows * t, d}), pick(norm_weight_, items), pick(norm_bias_, items), kNormEps);
    return y + gelu(mlp_(n.view(x.sizes()), items), /*tanh=*/false, t == 1);
  }

  void list(const ParameterScope& scope, std::vector<Parameter>& parameters) const override {
    // As the reference draws them: Linear's own default, and GPT-2's rule for the output projection.
    const Initial uniform{Initial::Kind::uniform, 0, 1 / std::sqrt(static_cast<double>(norm_weight_.size(1)))};
    qkv_.list(scope, {"attention.q", "attention.k", "attention.v"}, uniform, uniform, parameters);
    output_.list(scope, {"attention.o"}, Initial{}, Initial::zeros(), parameters);
    scope.add(norm_weight_, {{"norm.weight", norm_weight_.size(1)}}, Initial::ones(), parameters);
    scope.add(norm_bias_, {{"norm.bias", norm_bias_.size(1)}}, Initial::zeros(), parameters);
    mlp_.list(scope, {"mlp"}, uniform, uniform, parameters);
  }

 private:
  static constexpr double kNormEps = 1e-5;
  int64_t heads_;
  Linear qkv_, output_;
  at::Tensor norm_weight_, norm_bias_;
  Linear mlp_;
};

/// Reference class WBlock_mlp: x + gelu(W2·gelu(W1·x)), the tanh GELU, through half the width.
class MlpLink final : public Link {
 public:
  MlpLink(const BackboneConfig& backbone, int64_t stack, at::TensorOptions options)
      : in_(*this, "in", {stack, backbone.hidden_size / 2, backbone.hidden_size}, options),
        out_(*this, "out", {stack, backbone.hidden_size, backbone.hidden_size / 2}, options) {}
  at::Tensor forward(const at::Tensor& x, const Steps&, const StackItems& items, KeyValues*) override {
    const bool one_token = x.size(2) == 1;
    return x + gelu(out_(gelu(in_(x, items), /*tanh=*/true, one_token), items), /*tanh=*/true, one_token);
  }
  void list(const ParameterScope& scope, std::vector<Parameter>& parameters) const override {
    in_.list(scope, {"mlp.in"}, Initial{}, Initial::zeros(), parameters);
    out_.list(scope, {"mlp.out"}, Initial{}, Initial::zeros(), parameters);
  }

 private:
  Linear in_, out_;
};

class LinearLink final : public Link {
 public:
  LinearLink(const BackboneConfig& backbone, int64_t stack, at::TensorOptions options)
      : linear_(*this, "linear", {stack, backbone.hidden_size, backbone.hidden_size}, options) {}
  at::Tensor forward(const at::Tensor& x, const Steps&, const StackItems& items, KeyValues*) override {
    return linear_(x, items);
  }
  void list(const ParameterScope& scope, std::vector<Parameter>& parameters) const override {
    linear_.list(scope, {"linear"}, Initial{}, Initial::zeros(), parameters);
  }

 private:
  Linear linear_;
};

std::shared_ptr<Link> make_link(EdgeKind kind, const BackboneConfig& b, int64_t stack, at::TensorOptions options) {
  switch (kind) {
    case EdgeKind::block:
      return std::make_shared<BlockLink>(b, stack, options);
    case EdgeKind::attention:
      if (b.hidden_size % b.heads != 0)
        throw ConfigError(fmt::format("an edge of kind attention needs a hidden_size ({}) that its {} heads divide",
                                      b.hidden_size, b.heads));
      return std::make_shared<AttentionLink>(b, stack, options);
    case EdgeKind::mlp:
      if (b.hidden_size % 2 != 0)
        throw ConfigError(fmt::format("an edge of kind mlp needs an even hidden_size, not {}", b.hidden_size));
      return std::make_shared<MlpLink>(b, stack, options);
    case EdgeKind::linear:
      return std::make_shared<LinearLink>(b, stack, options);
  }
  throw ConfigError("this kind of edge is not built");
}

}  // namespace

EdgeStack::EdgeStack(const BackboneConfig& backbone, const EdgeKinds& kinds, int64_t stack, at::TensorOptions options) {
  for (const EdgeKind kind : kinds)
    links_.push_back(
        register_module(fmt::format("links_{}", links_.size()), make_link(kind, backbone, stack, options)));
}

at::Tensor EdgeStack::forward(const at::Tensor& input, const Steps& steps, const StackItems& items,
                              std::vector<KeyValues>* cached) {
  if (cached != nullptr) cached->resize(links_.size());
  at::Tensor x = input;
  for (size_t i = 0; i < links_.size(); ++i)
    x = links_[i]->forward(x, steps, items, cached == nullptr ? nullptr : &(*cached)[i]);
  return x;
}

void EdgeStack::list(const ParameterScope& scope, std::vector<Parameter>& parameters) const {
  for (size_t i = 0; i < links_.size(); ++i)
    links_[i]->list(links_.size() == 1 ? scope : scope.inside(fmt::format("links.{}.", i)), parameters);
}

}  // namespace lmnet
