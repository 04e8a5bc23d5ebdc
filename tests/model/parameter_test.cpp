#include "model/parameter.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/model/twin.h"

namespace lmnet {
namespace {

using test::Tensors;
using test::tiny_backbone;

Parameter weight(const std::string& name, int64_t out, int64_t in, Parameter::Initial initial = {}) {
  return {Parameter::Part::edges, initial, {0}, 0, at::empty({1, out, in}), {}, {{name, 0, 0, out}}};
}

at::Tensor initial(const std::string& name, uint64_t seed, int64_t out = 64, int64_t in = 64) {
  const Parameter parameter = weight(name, out, in);
  return initial_value(parameter, parameter.views[0], seed);
}

Tensors initial_values(const Network& network, uint64_t seed) {
  Tensors values;
  for (const Parameter& parameter : network.parameter_storage())
    for (const View& view : parameter.views) values[view.name] = initial_value(parameter, view, seed).to(at::kDouble);
  return values;
}

TEST(Parameter, a_view_is_a_run_of_rows_of_one_stacked_module) {
  const at::Tensor whole = at::arange(24).view({2, 4, 3});
  const at::Tensor part = slice(whole, {"name", 1, 2, 2});
  EXPECT_TRUE(at::equal(part, whole[1].narrow(0, 2, 2)));
  slice(whole, {"name", 0, 0, 1}).fill_(-1);
  EXPECT_EQ(whole[0][0][0].item<int64_t>(), -1);
}

TEST(Parameter, only_matrices_decay) {
  const BackboneConfig backbone = tiny_backbone();
  const Graph graph = Graph::layered("1-2-1");
  const Network network(backbone, graph, whole_placement(graph), 0, at::kFloat);
  for (const Parameter& parameter : network.parameter_storage())
    for (const View& view : parameter.views)
      EXPECT_EQ(parameter.matrix(), view.name.ends_with(".weight") && view.name.find("norm") == std::string::npos)
          << view.name;
}

TEST(Parameter, parts_train_by_their_own_switch) {
  using enum Parameter::Part;
  for (Parameter::Part part : {edges, vertices, embeddings, head}) {
    EXPECT_EQ(trains({.edges = true}, part), part == edges);
    EXPECT_EQ(trains({.vertices = true}, part), part == vertices);
    EXPECT_EQ(trains({.embeddings = true}, part), part == embeddings);
    EXPECT_EQ(trains({.head = true}, part), part == head);
  }
  EXPECT_EQ(to_string(embeddings), "embeddings");
}

TEST(InitialValue, weights_are_normal_with_deviation_0_02) {
  const at::Tensor value = initial("edges.0.0-0.fc.weight", 1, 512, 512).to(at::kDouble) / 0.02;
  EXPECT_NEAR(value.mean().item<double>(), 0, 5.0 / 512);
  EXPECT_NEAR(value.std().item<double>(), 1, 5.0 / 512);
  EXPECT_NEAR((value.abs() < 1).to(at::kDouble).mean().item<double>(), 0.6827, 0.005);
  EXPECT_NEAR((value.abs() > 2).to(at::kDouble).mean().item<double>(), 0.0455, 0.003);
  EXPECT_NEAR(value.pow(4).mean().item<double>(), 3, 0.1);
  const at::Tensor flat = value.flatten();
  EXPECT_NEAR((flat.narrow(0, 0, flat.numel() - 1) * flat.narrow(0, 1, flat.numel() - 1)).mean().item<double>(), 0,
              5.0 / 512)
      << "neighbours are independent";
}

TEST(InitialValue, norms_are_one_and_biases_zero) {
  const BackboneConfig backbone = tiny_backbone();
  const Graph graph = Graph::layered("1-2-1");
  const Network network(backbone, graph, whole_placement(graph), 0, at::kFloat);
  for (const auto& [name, value] : initial_values(network, 1)) {
    if (name.find("norm") != std::string::npos)
      EXPECT_TRUE(at::equal(value, at::ones_like(value))) << name;
    else if (name.ends_with(".bias"))
      EXPECT_TRUE(at::equal(value, at::zeros_like(value))) << name;
    else
      EXPECT_GT(value.std().item<double>(), 0.005) << name;
  }
}

TEST(InitialValue, depends_on_seed_and_name_alone) {
  EXPECT_TRUE(at::equal(initial("a.weight", 1), initial("a.weight", 1)));
  std::set<float> first;
  for (uint64_t seed : {0, 1, 2})
    for (const char* name : {"a.weight", "b.weight", "ab.weight", "ba.weight"})
      first.insert(initial(name, seed)[0][0].item<float>());
  EXPECT_EQ(first.size(), 12u);
  const at::Tensor a = initial("a.weight", 1), b = initial("b.weight", 1);
  EXPECT_NEAR((a * b).mean().item<double>() / 0.0004, 0, 5.0 / 64) << "independent draws";
}

TEST(InitialValue, is_the_same_in_every_stack_placement_and_number_of_threads) {
  const BackboneConfig backbone = tiny_backbone();
  const Graph graph = Graph::layered("1-3-1");
  const Network whole(backbone, graph, whole_placement(graph), 0, at::kFloat);
  const Tensors expected = initial_values(whole, 5);
  Placement placement = whole_placement(graph);
  for (size_t e = 0; e < graph.edges().size(); e += 2) placement.edges[e] = {1};
  size_t edges = 0;
  for (int rank : {0, 1}) {
    const Network part(backbone, graph, placement, rank, at::kFloat);
    for (const auto& [name, value] : initial_values(part, 5)) {
      EXPECT_TRUE(at::equal(value, expected.at(name))) << name;
      edges += name.starts_with("edges.");
    }
  }
  EXPECT_EQ(edges, 6u * 14u) << "14 tensors an edge, each on one of the two ranks";
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor one = initial("a.weight", 1, 300, 300);
  at::set_num_threads(2);
  EXPECT_TRUE(at::equal(one, initial("a.weight", 1, 300, 300)));
  at::set_num_threads(threads);
}

}  // namespace
}  // namespace lmnet
