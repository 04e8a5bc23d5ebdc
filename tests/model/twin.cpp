#include "tests/model/twin.h"

#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "model/walk.h"

namespace lmnet::test {

at::Tensor Twin::linear(const at::Tensor& x, const std::string& name) const {
  auto bias = weights_.find(name + ".bias");
  at::Tensor y = at::matmul(x, weights_.at(name + ".weight").t());
  return bias == weights_.end() ? y : y + bias->second;
}

at::Tensor Twin::norm(const at::Tensor& x, const std::string& name) const {
  return x / at::sqrt((x * x).mean(-1, /*keepdim=*/true) + backbone_.norm_eps) * weights_.at(name + ".weight");
}

/// x·cos + rotate_half(x)·sin of [B, heads, T, K].
at::Tensor Twin::rotate(const at::Tensor& x) const {
  const int64_t width = backbone_.head_width, half = width / 2;
  at::Tensor frequency = 1 / at::pow(backbone_.rope.theta, at::arange(0, width, 2, at::kDouble) / width);
  at::Tensor angle = at::arange(x.size(2), at::kDouble).unsqueeze(1) * frequency;
  angle = at::cat({angle, angle}, 1);
  at::Tensor half_turned = at::cat({-x.narrow(-1, half, half), x.narrow(-1, 0, half)}, -1);
  return x * angle.cos() + half_turned * angle.sin();
}

at::Tensor Twin::attention(const at::Tensor& x, const std::string& prefix) const {
  const int64_t rows = x.size(0), length = x.size(1), width = backbone_.head_width;
  auto heads = [&](const char* name) {
    return linear(x, prefix + name).view({rows, length, -1, width}).transpose(1, 2);
  };
  const int64_t share = backbone_.heads / backbone_.kv_heads;
  at::Tensor q = rotate(heads("q")), k = rotate(heads("k")).repeat_interleave(share, 1);
  at::Tensor v = heads("v").repeat_interleave(share, 1);
  at::Tensor future = at::ones({length, length}, at::kBool).triu(1);
  at::Tensor scores = at::matmul(q, k.transpose(2, 3)) / std::sqrt(static_cast<double>(width));
  at::Tensor weights = at::softmax(scores.masked_fill(future, -std::numeric_limits<double>::infinity()), -1);
  return linear(at::matmul(weights, v).transpose(1, 2).reshape({rows, length, -1}), prefix + "o");
}

at::Tensor Twin::block(const at::Tensor& input, const std::string& prefix) const {
  at::Tensor x = input + attention(norm(input, prefix + "attention_norm"), prefix + "attention.");
  at::Tensor n = norm(x, prefix + "mlp_norm");
  at::Tensor gate = linear(n, prefix + "mlp.gate");
  return x + linear(gate * at::sigmoid(gate) * linear(n, prefix + "mlp.up"), prefix + "mlp.down");
}

at::Tensor Twin::vertex(at::Tensor x, const std::string& group) const {
  const std::string prefix = "vertices." + group + ".";
  for (int64_t i = 0; i < backbone_.blocks; ++i) x = block(x, prefix + "blocks." + std::to_string(i) + ".");
  return norm(x, prefix + "norm");
}

at::Tensor Twin::edge(const at::Tensor& x, const Edge& edge) const {
  return edge.kinds.empty() ? x : linear(block(x, edge.name + ".block."), edge.name + ".fc");
}

at::Tensor Twin::hidden(const at::Tensor& tokens) const {
  at::Tensor embedded = at::embedding(weights_.at("embeddings.tokens.weight"), tokens);
  std::vector<at::Tensor> outputs;
  for (int v = 0; v <= graph_.head(); ++v) {
    at::Tensor input = at::zeros_like(embedded);
    for (int e : graph_.edges_into(v)) {
      const Edge& arriving = graph_.edges()[e];
      input = input + edge(arriving.source == Graph::input ? embedded : outputs[arriving.source], arriving);
    }
    input = input * graph_.input_scale(v);
    outputs.push_back(v == graph_.head() ? input : vertex(input, graph_.vertices()[v].group));
  }
  return outputs.back();
}

at::Tensor Twin::loss(const Sequence& sequence) const {
  const char* head = backbone_.tied ? "embeddings.tokens.weight" : "head.weight";
  at::Tensor logits = at::matmul(hidden(sequence.tokens), weights_.at(head).t());
  at::Tensor targets = sequence.targets.masked_fill(sequence.learn.logical_not(), -100);
  return at::cross_entropy_loss(logits.flatten(0, 1), targets.flatten(), {}, at::Reduction::Sum, -100);
}

BackboneConfig tiny_backbone(const std::string& model_type, bool tied) {
  BackboneConfig backbone;
  backbone.family = model_type == "qwen2" ? BackboneConfig::Family::qwen2 : BackboneConfig::Family::llama;
  backbone.hidden_size = 8;
  backbone.intermediate_size = 12;
  backbone.blocks = 2;
  backbone.heads = 4;
  backbone.kv_heads = 2;
  backbone.head_width = 2;
  backbone.vocabulary = 11;
  backbone.rope.theta = 100;
  backbone.qkv_bias = model_type == "qwen2";
  backbone.tied = tied;
  return backbone;
}

Sequence random_sequence(int64_t rows, int64_t length, int64_t vocabulary, bool masked, uint64_t seed) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  auto draw = [&](int64_t below) { return at::randint(below, {rows, length}, generator, at::kLong); };
  Sequence sequence{draw(vocabulary), draw(vocabulary), at::ones({rows, length}, at::kBool)};
  if (masked) sequence.learn = draw(3) > 0;
  return sequence;
}

void randomise(Network& network, uint64_t seed, double size) {
  at::NoGradGuard no_grad;
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  for (Parameter& parameter : network.parameter_storage()) {
    const double around = parameter.initial.mean;
    parameter.value.copy_(at::randn(parameter.value.sizes(), generator, at::kDouble) * size + around);
  }
}

void bind_gradients(Network& network, const Trains& stage) {
  for (Parameter& parameter : network.parameter_storage()) {
    const bool train = trains(stage, parameter.part);
    parameter.value.set_requires_grad(train);
    const auto options = parameter.value.options().dtype(network.accumulation_dtype());
    parameter.gradient = train ? at::zeros(parameter.value.sizes(), options) : at::Tensor();
  }
}

namespace {

at::Tensor copy_of(const at::Tensor& whole, const View& view) {
  return slice(whole.detach(), view).to(at::kCPU, at::kDouble, /*non_blocking=*/false, /*copy=*/true);
}

bool trains_name(const Network& network, const Trains& stage, const std::string& name) {
  for (const Parameter& parameter : network.parameter_storage())
    for (const View& view : parameter.views)
      if (view.name == name) return trains(stage, parameter.part);
  return false;
}

}  // namespace

Tensors weights_of(const Network& network) {
  Tensors weights;
  for (const Parameter& parameter : network.parameter_storage())
    for (const View& view : parameter.views) {
      at::Tensor value = copy_of(parameter.value, view);
      EXPECT_TRUE(weights.emplace(view.name, value).second) << view.name << " is listed twice";
    }
  return weights;
}

Tensors gradients_of(const Network& network) {
  Tensors gradients;
  for (const Parameter& parameter : network.parameter_storage())
    for (const View& view : parameter.views)
      if (parameter.gradient.defined()) gradients[view.name] = copy_of(parameter.gradient, view);
  return gradients;
}

void expect_close(const Tensors& actual, const Tensors& expected, double tolerance) {
  EXPECT_EQ(actual.size(), expected.size());
  for (const auto& [name, value] : expected) {
    auto found = actual.find(name);
    if (found == actual.end() || found->second.sizes() != value.sizes()) {
      ADD_FAILURE() << name << " is missing or of another shape";
      continue;
    }
    const double largest = value.abs().max().item<double>();
    const double difference = (found->second - value).abs().max().item<double>();
    EXPECT_LE(difference, tolerance * (largest > 0 ? largest : 1)) << name << ", largest value " << largest;
  }
}

double walk_gradients(Network& network, const Sequence& sequence, const Trains& stage, double scale) {
  const Layout layout = whole_layout(network.graph(), sequence.rows());
  LocalExchange exchange;
  return Walk(network, layout, exchange, gradient_gaps(network.graph(), stage))
      .loss_and_gradients(sequence, scale)
      .item<double>();
}

double walk_loss(Network& network, const Sequence& sequence) {
  const Layout layout = whole_layout(network.graph(), sequence.rows());
  LocalExchange exchange;
  return Walk(network, layout, exchange, gradient_gaps(network.graph(), {})).loss(sequence).item<double>();
}

Tensors twin_gradients(const Network& network, const Sequence& sequence, const Trains& stage, double scale,
                       double& loss) {
  Tensors weights = weights_of(network), gradients;
  for (auto& [name, weight] : weights) weight.set_requires_grad(trains_name(network, stage, name));
  const at::Tensor sum = Twin(network.backbone(), network.graph(), weights).loss(sequence);
  loss = sum.item<double>();
  if (sum.requires_grad()) torch::autograd::backward({sum * scale});
  for (const auto& [name, weight] : weights)
    if (weight.requires_grad())
      gradients[name] = weight.grad().defined() ? weight.grad() : at::zeros_like(weight).detach();
  return gradients;
}

}  // namespace lmnet::test
