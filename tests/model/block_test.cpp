#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "model/edge.h"
#include "tests/model/twin.h"

namespace lmnet {
namespace {

using test::tiny_backbone;

void randomise(torch::nn::Module& module) {
  at::NoGradGuard no_grad;
  double phase = 1;
  for (at::Tensor& value : module.parameters())
    value.copy_((at::arange(value.numel(), at::kDouble).view(value.sizes()) * 0.7 + phase++).sin() * 0.4);
}

at::Tensor waves(at::IntArrayRef shape) {
  return (at::arange(c10::multiply_integers(shape), at::kDouble) * 0.37).sin().view(shape);
}

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

TEST(Rotary, tables_hold_the_angles_of_both_halves) {
  BackboneConfig backbone = tiny_backbone();
  backbone.head_width = 6;
  backbone.rope.theta = 500;
  const Rotary tables = Rotary::tables(backbone, at::arange(5), at::kDouble);
  for (int64_t t = 0; t < 5; ++t)
    for (int64_t i = 0; i < 6; ++i) {
      const double angle = static_cast<double>(t) * std::pow(500, -static_cast<double>(i % 3) / 3);
      EXPECT_NEAR(tables.cos[t][i].item<double>(), std::cos(angle), 1e-14);
      EXPECT_NEAR(tables.sin[t][i].item<double>(), std::sin(angle), 1e-14);
    }
  EXPECT_EQ(Rotary::tables(backbone, at::arange(5), at::kBFloat16).cos.scalar_type(), at::kFloat);
}

TEST(StackedLinear, is_a_linear_for_each_module) {
  for (int64_t stack : {1, 3}) {
    const at::Tensor x = waves({stack, 4, 5}), weight = waves({stack, 2, 5}), bias = waves({stack, 2});
    for (const at::Tensor& b : {bias, at::Tensor()}) {
      const at::Tensor y = stacked_linear(x, weight, b);
      for (int64_t e = 0; e < stack; ++e)
        EXPECT_LT(largest_difference(y[e], at::linear(x[e], weight[e], b.defined() ? b[e] : at::Tensor())), 1e-14);
    }
  }
}

TEST(EdgeStack, computes_each_edge_as_if_it_were_alone) {
  const BackboneConfig backbone = tiny_backbone();
  const Steps steps{Rotary::tables(backbone, at::arange(4), at::kDouble)};
  EdgeStack stack(backbone, {EdgeKind::block}, 3, at::kDouble), alone(backbone, {EdgeKind::block}, 1, at::kDouble);
  randomise(stack);
  const at::Tensor x = waves({3, 2, 4, 8}), y = stack.forward(x, steps);
  EXPECT_EQ(y.sizes(), x.sizes());
  at::NoGradGuard no_grad;
  for (int64_t e = 0; e < 3; ++e) {
    auto from = stack.named_parameters(), to = alone.named_parameters();
    for (auto& item : to) item.value().copy_(from[item.key()][e].unsqueeze(0));
    EXPECT_LT(largest_difference(alone.forward(x[e].unsqueeze(0), steps)[0], y[e]), 1e-13);
  }
}

TEST(EdgeStack, runs_some_of_its_edges_and_leaves_the_gradients_of_the_others_zero) {
  const BackboneConfig backbone = tiny_backbone();
  const Steps steps{Rotary::tables(backbone, at::arange(4), at::kDouble)};
  EdgeStack stack(backbone, {EdgeKind::block}, 4, at::kDouble);
  randomise(stack);
  for (at::Tensor& value : stack.parameters()) value.set_requires_grad(true);
  const at::Tensor x = waves({4, 2, 4, 8}), all = stack.forward(x, steps);
  const at::Tensor some = stack.forward(x.index_select(0, at::tensor({1, 3})), steps, {1, 3});
  EXPECT_LT(largest_difference(some[0].detach(), all[1].detach()), 1e-13);
  EXPECT_LT(largest_difference(some[1].detach(), all[3].detach()), 1e-13);
  torch::autograd::backward({some.sum()});
  for (const auto& item : stack.named_parameters()) {
    const at::Tensor& gradient = item.value().grad();
    EXPECT_EQ(gradient.index_select(0, at::tensor({0, 2})).abs().max().item<double>(), 0) << item.key();
    EXPECT_GT(gradient.index_select(0, at::tensor({1, 3})).abs().max().item<double>(), 0) << item.key();
  }
}

TEST(Transformer, keeps_the_shape_and_ends_with_its_norm) {
  const BackboneConfig backbone = tiny_backbone("llama");
  const Steps steps{Rotary::tables(backbone, at::arange(4), at::kDouble)};
  Transformer transformer(backbone, at::kDouble);
  randomise(transformer);
  at::NoGradGuard no_grad;
  transformer.named_parameters()["norm.weight"].fill_(1);
  const at::Tensor y = transformer.forward(waves({3, 4, 8}), steps);
  EXPECT_EQ(y.sizes(), (at::IntArrayRef{3, 4, 8}));
  EXPECT_LT(largest_difference((y * y).mean(-1), at::ones({3, 4}, at::kDouble)), 1e-4);
}

TEST(Transformer, rows_do_not_see_each_other) {
  const BackboneConfig backbone = tiny_backbone();
  const Steps steps{Rotary::tables(backbone, at::arange(4), at::kDouble)};
  Transformer transformer(backbone, at::kDouble);
  randomise(transformer);
  const at::Tensor x = waves({3, 4, 8}), y = transformer.forward(x, steps);
  EXPECT_LT(largest_difference(transformer.forward(x.narrow(0, 1, 1), steps)[0], y[1]), 1e-13);
}

}  // namespace
}  // namespace lmnet
