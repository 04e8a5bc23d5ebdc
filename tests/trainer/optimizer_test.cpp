#include "trainer/optimizer.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "parallel/thread_communicator.h"
#include "tests/trainer/agreement.h"

namespace lmnet::testing {
namespace {

using Part = Parameter::Part;

constexpr const char* kEdgeMatrix = "edges.0.0-1.fc.weight";
constexpr const char* kEdgeBias = "edges.0.0-1.fc.bias";
constexpr const char* kNorm = "edges.0.0-1.block.attention_norm.weight";
constexpr const char* kQuery = "vertices.shared.blocks.1.attention.q.weight";

/// A network `1-2-1` on one rank with numbers in it, and its optimiser.
class OptimizerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    at::set_num_threads(1);
    make(at::kDouble);
  }

  void make(at::ScalarType dtype) {
    Graph graph = Graph::layered("1-2-1");
    network_ = std::make_unique<Network>(shape_of({}), graph, whole_placement(graph), 0, dtype);
    optimizer_ = std::make_unique<Optimizer>(*network_, config_, *mesh_, /*sharded=*/true);
    for (const Parameter& parameter : network_->parameter_storage())
      for (const View& view : parameter.views) optimizer_->assign(view.name, initial_value(parameter, view, 1));
  }

  at::Tensor value(const std::string& name) const { return optimizer_->state(name).value.clone(); }

  /// Numbers that tell parameters and steps apart.
  void set_gradients(int step) {
    for (const std::string& name : optimizer_->names())
      if (at::Tensor gradient = optimizer_->gradient(name); gradient.defined()) gradient.copy_(gradient_of(name, step));
  }
  at::Tensor gradient_of(const std::string& name, int step) const {
    at::Tensor shape = optimizer_->state(name).value;
    return at::arange(shape.numel(), at::kDouble)
        .add(static_cast<double>(name.size() + 100 * step))
        .sin()
        .view(shape.sizes());
  }

  void step(int number, const std::map<Part, double>& lr, double scale = 1) {
    set_gradients(number);
    optimizer_->update(lr, scale);
  }

  /// AdamW as it is written (Loshchilov and Hutter), number by number.
  struct Adam {
    at::Tensor value, m, v;
    int steps = 0;
    void step(const at::Tensor& gradient, double lr, double decay, const OptimizerConfig& config) {
      ++steps;
      m = config.beta1 * m + (1 - config.beta1) * gradient;
      v = config.beta2 * v + (1 - config.beta2) * gradient * gradient;
      at::Tensor unbiased_m = m / (1 - std::pow(config.beta1, steps));
      at::Tensor unbiased_v = v / (1 - std::pow(config.beta2, steps));
      value = value - lr * decay * value - lr * unbiased_m / (unbiased_v.sqrt() + config.eps);
    }
  };
  Adam adam(const std::string& name) const {
    at::Tensor start = value(name);
    return {start, at::zeros_like(start), at::zeros_like(start)};
  }

  void expect_value(const std::string& name, const at::Tensor& expected) const {
    EXPECT_TRUE(at::allclose(value(name), expected, /*rtol=*/1e-13, /*atol=*/1e-15)) << name;
  }

  std::vector<std::unique_ptr<Communicator>> alone_ = make_thread_communicators(1);
  std::unique_ptr<Mesh> mesh_ = std::make_unique<Mesh>(*alone_.front(), 1);
  OptimizerConfig config_;
  std::unique_ptr<Network> network_;
  std::unique_ptr<Optimizer> optimizer_;
};

TEST_F(OptimizerTest, follows_the_formula_of_AdamW_and_decays_matrices_only) {
  optimizer_->begin_stage({.edges = true});
  Adam matrix = adam(kEdgeMatrix), bias = adam(kEdgeBias), norm = adam(kNorm);
  const double scale = 0.25;
  for (int s = 1; s <= 5; ++s) {
    double lr = 1e-2 / s;
    step(s, {{Part::edges, lr}}, scale);
    matrix.step(scale * gradient_of(kEdgeMatrix, s), lr, config_.weight_decay, config_);
    bias.step(scale * gradient_of(kEdgeBias, s), lr, 0, config_);
    norm.step(scale * gradient_of(kNorm, s), lr, 0, config_);
  }
  expect_value(kEdgeMatrix, matrix.value);
  expect_value(kEdgeBias, bias.value);
  expect_value(kNorm, norm.value);
  EXPECT_TRUE(at::allclose(optimizer_->state(kEdgeMatrix).exp_avg, matrix.m, 1e-13, 1e-15));
  EXPECT_TRUE(at::allclose(optimizer_->state(kEdgeMatrix).exp_avg_sq, matrix.v, 1e-13, 1e-15));
}

TEST_F(OptimizerTest, decays_what_the_rule_names) {
  const std::map<Decays, std::vector<std::string>> rules = {{Decays::matrices, {kEdgeMatrix}},
                                                            {Decays::weights, {kEdgeMatrix, kNorm}},
                                                            {Decays::all, {kEdgeMatrix, kNorm, kEdgeBias}}};
  for (const auto& [rule, decaying] : rules) {
    config_.decays = rule;
    make(at::kDouble);
    optimizer_->begin_stage({.edges = true});
    std::map<std::string, Adam> expected;
    for (const char* name : {kEdgeMatrix, kNorm, kEdgeBias}) expected[name] = adam(name);
    step(1, {{Part::edges, 1e-2}});
    for (auto& [name, parameter] : expected) {
      const bool decays = std::ranges::find(decaying, name) != decaying.end();
      parameter.step(gradient_of(name, 1), 1e-2, decays ? config_.weight_decay : 0, config_);
      expect_value(name, parameter.value);
    }
  }
}

TEST_F(OptimizerTest, corrects_the_bias_of_a_part_that_joins_later_by_its_own_steps) {
  optimizer_->begin_stage({.edges = true});
  Adam edge = adam(kEdgeMatrix), vertex = adam(kQuery);
  for (int s = 1; s <= 5; ++s) {
    if (s == 4) optimizer_->begin_stage({.edges = true, .vertices = true});
    std::map<Part, double> lr{{Part::edges, 1e-2}};
    if (s >= 4) lr[Part::vertices] = 1e-3;
    step(s, lr);
    edge.step(gradient_of(kEdgeMatrix, s), 1e-2, config_.weight_decay, config_);
    if (s >= 4) vertex.step(gradient_of(kQuery, s), 1e-3, config_.weight_decay, config_);
  }
  EXPECT_EQ(optimizer_->steps().at(Part::edges), 5);
  EXPECT_EQ(optimizer_->steps().at(Part::vertices), 2);
  expect_value(kEdgeMatrix, edge.value);
  expect_value(kQuery, vertex.value);
}

TEST_F(OptimizerTest, keeps_values_over_stages_and_moments_of_what_goes_on_training) {
  for (at::ScalarType dtype : {at::kDouble, at::kFloat}) {
    make(dtype);
    optimizer_->begin_stage({.edges = true, .vertices = true});
    step(1, {{Part::edges, 1e-2}, {Part::vertices, 1e-2}});
    std::map<std::string, at::Tensor> before;
    for (const std::string& name : optimizer_->names()) before[name] = value(name);
    at::Tensor moment = optimizer_->state(kEdgeMatrix).exp_avg.clone();

    optimizer_->begin_stage({.edges = true, .embeddings = true});
    for (const auto& [name, old] : before) EXPECT_TRUE(at::equal(value(name), old)) << name;
    EXPECT_TRUE(at::equal(optimizer_->state(kEdgeMatrix).exp_avg, moment));
    EXPECT_FALSE(optimizer_->state(kQuery).exp_avg.defined());
    EXPECT_FALSE(optimizer_->gradient(kQuery).defined());

    optimizer_->begin_stage({.edges = true, .vertices = true});
    for (const auto& [name, old] : before) EXPECT_TRUE(at::equal(value(name), old)) << name;
    EXPECT_EQ(optimizer_->state(kQuery).exp_avg.abs().max().item<double>(), 0);
    EXPECT_EQ(optimizer_->steps().at(Part::vertices), 0);
  }
}

TEST_F(OptimizerTest, changes_only_what_trains) {
  optimizer_->begin_stage({.edges = true});
  std::map<std::string, at::Tensor> before;
  for (const std::string& name : optimizer_->names()) before[name] = value(name);
  step(1, {{Part::edges, 1e-2}});
  for (const auto& [name, old] : before) EXPECT_EQ(at::equal(value(name), old), !name.starts_with("edges.")) << name;
}

TEST_F(OptimizerTest, lets_the_network_compute_with_the_master_weights_in_fp32_and_fp64) {
  for (at::ScalarType dtype : {at::kDouble, at::kFloat}) {
    make(dtype);
    optimizer_->begin_stage({.edges = true, .embeddings = true});
    for (const Parameter& parameter : network_->parameter_storage())
      for (const View& view : parameter.views)
        EXPECT_EQ(slice(parameter.value, view).data_ptr(), optimizer_->state(view.name).value.data_ptr()) << view.name;
    const Sequence tokens{at::arange(13).view({1, 13}), {}, {}};
    at::Tensor before = network_->embed(tokens).detach().clone();
    step(1, {{Part::edges, 1e-2}, {Part::embeddings, 1e-2}});
    EXPECT_FALSE(at::equal(network_->embed(tokens), before));
  }
}

TEST_F(OptimizerTest, rounds_the_master_weights_for_a_bf16_network) {
  make(at::kBFloat16);
  optimizer_->begin_stage({.edges = true});
  optimizer_->assign(kEdgeBias, at::full({8}, 1 + 1e-3));
  EXPECT_EQ(value(kEdgeBias).scalar_type(), at::kFloat);
  EXPECT_FLOAT_EQ(value(kEdgeBias)[0].item<float>(), 1 + 1e-3f);
  for (int s = 1; s <= 3; ++s) {
    for (const Parameter& parameter : network_->parameter_storage())
      for (const View& view : parameter.views) {
        at::Tensor computed = slice(parameter.value, view);
        EXPECT_EQ(computed.scalar_type(), at::kBFloat16);
        EXPECT_TRUE(at::equal(computed, value(view.name).to(at::kBFloat16))) << view.name;
      }
    // Far below bf16's resolution: only the master weight can move.
    at::Tensor before = value(kEdgeBias);
    step(s, {{Part::edges, 1e-5}});
    EXPECT_FALSE(at::equal(value(kEdgeBias), before));
  }
}

TEST_F(OptimizerTest, gives_back_what_was_assigned_by_name) {
  for (bool training : {false, true}) {
    make(at::kFloat);
    if (training) optimizer_->begin_stage({true, true, true, true});
    double number = 1;
    for (const std::string& name : optimizer_->names()) {
      at::Tensor shape = value(name);
      optimizer_->assign(name, at::full(shape.sizes(), number++, at::kDouble));
    }
    number = 1;
    for (const std::string& name : optimizer_->names())
      EXPECT_TRUE(at::equal(value(name), at::full(value(name).sizes(), number++, at::kFloat))) << name;
  }
}

TEST_F(OptimizerTest, takes_moments_through_the_views_of_a_state) {
  optimizer_->begin_stage({.edges = true});
  optimizer_->state(kEdgeBias).exp_avg.fill_(0.5);
  optimizer_->state(kEdgeBias).exp_avg_sq.fill_(4);
  optimizer_->set_steps({{Part::edges, 9}});
  Adam bias{value(kEdgeBias), at::full({8}, 0.5, at::kDouble), at::full({8}, 4., at::kDouble), 9};
  step(1, {{Part::edges, 1e-2}});
  bias.step(gradient_of(kEdgeBias, 1), 1e-2, 0, config_);
  expect_value(kEdgeBias, bias.value);
}

TEST_F(OptimizerTest, sums_the_squares_of_all_gradients_that_it_counts) {
  optimizer_->begin_stage({.edges = true, .head = true});
  set_gradients(1);
  double sum = 0;
  for (const std::string& name : optimizer_->names())
    if (at::Tensor gradient = optimizer_->gradient(name); gradient.defined())
      sum += gradient.square().sum().item<double>();
  EXPECT_NEAR(optimizer_->squared_norm().item<double>(), sum, 1e-12 * sum);
  optimizer_->zero_gradients();
  EXPECT_EQ(optimizer_->squared_norm().item<double>(), 0);
}

}  // namespace
}  // namespace lmnet::testing
