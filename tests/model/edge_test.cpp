#include "model/edge.h"

#include <gtest/gtest.h>

#include "tests/model/twin.h"

namespace lmnet {
namespace {

using enum EdgeKind;
using test::tiny_backbone;

int64_t parameters(const EdgeKinds& kinds, const BackboneConfig& backbone) {
  int64_t sum = 0;
  for (const at::Tensor& value : EdgeStack(backbone, kinds, 1, at::kFloat).parameters()) sum += value.numel();
  return sum;
}

std::vector<std::string> names(const EdgeKinds& kinds) {
  std::vector<Parameter> storage;
  EdgeStack(tiny_backbone(), kinds, 1, at::kFloat).list({{"edges.0.0-0."}}, storage);
  std::vector<std::string> names;
  for (const Parameter& parameter : storage)
    for (const View& view : parameter.views) names.push_back(view.name);
  return names;
}

TEST(EdgeStack, has_the_sizes_of_the_reference) {
  const BackboneConfig backbone = tiny_backbone();
  const int64_t d = backbone.hidden_size;
  EXPECT_EQ(parameters({attention}, backbone), 5 * d * d + 7 * d);
  EXPECT_EQ(parameters({mlp}, backbone), d * d + d / 2 + d);
  EXPECT_EQ(parameters({linear}, backbone), d * d + d);
  EXPECT_EQ(parameters({linear, linear, mlp}, backbone), 2 * (d * d + d) + d * d + d / 2 + d);
}

TEST(EdgeStack, a_single_link_has_plain_names_and_a_chain_numbers_its_links) {
  EXPECT_EQ(names({linear}), (std::vector<std::string>{"edges.0.0-0.linear.weight", "edges.0.0-0.linear.bias"}));
  EXPECT_EQ(names({linear, mlp}),
            (std::vector<std::string>{"edges.0.0-0.links.0.linear.weight", "edges.0.0-0.links.0.linear.bias",
                                      "edges.0.0-0.links.1.mlp.in.weight", "edges.0.0-0.links.1.mlp.in.bias",
                                      "edges.0.0-0.links.1.mlp.out.weight", "edges.0.0-0.links.1.mlp.out.bias"}));
}

TEST(EdgeStack, attention_links_see_no_positions_and_nothing_later) {
  EdgeStack stack(tiny_backbone(), {attention}, 2, at::kDouble);
  at::NoGradGuard no_grad;
  for (at::Tensor& value : stack.parameters())
    value.copy_((at::arange(value.numel(), at::kDouble) * 0.7).sin().view(value.sizes()) * 0.3);
  const at::Tensor x = (at::arange(2 * 3 * 5 * 8, at::kDouble) * 0.37).sin().view({2, 3, 5, 8});
  const at::Tensor y = stack.forward(x, {});
  // The same vectors before it in another order give the last position the same sum.
  const at::Tensor swapped = x.index_select(2, at::tensor({1, 0, 2, 3, 4}));
  EXPECT_LT((stack.forward(swapped, {}).select(2, 4) - y.select(2, 4)).abs().max().item<double>(), 1e-12);
  EXPECT_LT((stack.forward(x.narrow(2, 0, 3), {}) - y.narrow(2, 0, 3)).abs().max().item<double>(), 1e-12);
}

}  // namespace
}  // namespace lmnet
