#include "model/walk.h"

#include <gtest/gtest.h>

#include "tests/model/twin.h"

namespace lmnet {
namespace {

using namespace test;

constexpr Trains kEverything{true, true, true, true};

Network make_network(const BackboneConfig& backbone, const Graph& graph, at::ScalarType dtype = at::kDouble) {
  Network network(backbone, graph, whole_placement(graph), 0, dtype);
  randomise(network);
  return network;
}

/// Loss and all gradients in fp64 equal those of the plain twin.
void expect_like_twin(const BackboneConfig& backbone, const Graph& graph, const Trains& stage = kEverything,
                      const Sequence& sequence = random_sequence(3, 5, 11, /*masked=*/true), double scale = 0.5) {
  SCOPED_TRACE(graph.topology());
  Network network = make_network(backbone, graph);
  bind_gradients(network, stage);
  double expected_loss = 0;
  const Tensors expected = twin_gradients(network, sequence, stage, scale, expected_loss);
  EXPECT_NEAR(walk_gradients(network, sequence, stage, scale), expected_loss, 1e-10 * std::abs(expected_loss));
  expect_close(gradients_of(network), expected, 1e-10);
  EXPECT_NEAR(walk_loss(network, sequence), expected_loss, 1e-10 * std::abs(expected_loss));
}

/// Skips between vertices, an input edge into a later level, identity edges, two edges into the head.
Graph with_skips(const GraphOptions& options = {}, const std::string& group_of_b = "") {
  return Graph::explicit_graph({{"a", ""}, {"b", group_of_b}, {"c", ""}, {"d", group_of_b}},
                               {{"input", "a"},
                                {"a", "b"},
                                {"a", "c", EdgeKinds{}},
                                {"b", "d"},
                                {"c", "d", EdgeKinds{EdgeKind::block}},
                                {"a", "d"},
                                {"input", "d", EdgeKinds{EdgeKind::block}},
                                {"input", "b"},
                                {"d", "head"},
                                {"b", "head", EdgeKinds{EdgeKind::block}},
                                {"a", "head"}},
                               options);
}

TEST(Walk, agrees_with_the_twin_on_layered_topologies) {
  for (const char* topology : {"1", "1-2-1", "1-4-4-4-1", "2-3-1", "1-2"})
    for (const EdgeKinds& input_edge : {EdgeKinds{}, EdgeKinds{EdgeKind::block}})
      expect_like_twin(tiny_backbone(), Graph::layered(topology, {.input_edge = input_edge}));
}

TEST(Walk, agrees_with_the_twin_on_a_graph_with_skips) {
  for (Aggregation aggregation : {Aggregation::mean, Aggregation::sum})
    for (const EdgeKinds& input_edge : {EdgeKinds{}, EdgeKinds{EdgeKind::block}})
      expect_like_twin(tiny_backbone(), with_skips({.aggregation = aggregation, .input_edge = input_edge}));
}

TEST(Walk, agrees_with_the_twin_for_every_aggregation_and_output) {
  for (Aggregation aggregation : {Aggregation::mean, Aggregation::sum})
    for (Output output : {Output::first, Output::mean, Output::sum})
      for (const char* topology : {"1-2", "2-3"})
        expect_like_twin(tiny_backbone(), Graph::layered(topology, {.aggregation = aggregation, .output = output}));
}

TEST(Walk, agrees_with_the_twin_for_every_sharing) {
  for (Sharing sharing : {Sharing::all, Sharing::level, Sharing::none, Sharing::groups}) {
    expect_like_twin(tiny_backbone(), Graph::layered("1-2-1", {.sharing = sharing}));
    expect_like_twin(tiny_backbone(), with_skips({.sharing = sharing}));
  }
  expect_like_twin(tiny_backbone(), with_skips({.sharing = Sharing::groups}, "twins"));
}

TEST(Walk, agrees_with_the_twin_for_tied_and_untied_heads_of_both_families) {
  for (const char* family : {"llama", "qwen2"})
    for (bool tied : {true, false}) expect_like_twin(tiny_backbone(family, tied), Graph::layered("1-2-1"));
}

TEST(Walk, agrees_with_the_twin_for_heads_of_any_number_and_width) {
  struct Shape {
    int64_t heads, kv_heads, head_width;
  };
  for (const Shape& shape : {Shape{2, 2, 4}, Shape{4, 1, 2}, Shape{2, 1, 6}, Shape{3, 3, 4}, Shape{4, 2, 8}}) {
    BackboneConfig backbone = tiny_backbone();
    backbone.heads = shape.heads;
    backbone.kv_heads = shape.kv_heads;
    backbone.head_width = shape.head_width;
    expect_like_twin(backbone, Graph::layered("1-2-1"));
  }
}

TEST(Walk, frozen_parts_get_no_gradients_and_change_those_of_the_others_not) {
  for (bool tied : {true, false})
    for (unsigned bits = 0; bits < 16; ++bits) {
      const Trains stage{bits % 2 != 0, bits / 2 % 2 != 0, bits / 4 % 2 != 0, bits / 8 % 2 != 0};
      SCOPED_TRACE(::testing::Message() << (tied ? "tied, " : "untied, ") << "trains " << bits);
      expect_like_twin(tiny_backbone("qwen2", tied), Graph::layered("1-2-1"), stage);
      expect_like_twin(tiny_backbone("qwen2", tied), with_skips(), stage);
    }
}

TEST(Walk, gradients_stop_at_levels_that_nothing_trained_feeds) {
  // Only a→b has weights that train; w, a level after b, hangs on identity edges alone.
  const Graph graph =
      Graph::explicit_graph({{"a", ""}, {"b", ""}, {"x", ""}, {"w", ""}}, {{"input", "a"},
                                                                           {"a", "b", EdgeKinds{EdgeKind::block}},
                                                                           {"a", "x", EdgeKinds{}},
                                                                           {"x", "w", EdgeKinds{}},
                                                                           {"a", "w", EdgeKinds{}},
                                                                           {"b", "head"},
                                                                           {"w", "head"}});
  expect_like_twin(tiny_backbone(), graph, {.edges = true});
  expect_like_twin(tiny_backbone(), graph, {.embeddings = true});
}

TEST(Walk, masks_that_hide_whole_rows_or_everything_leave_the_rest) {
  Sequence sequence = random_sequence(4, 5, 11, /*masked=*/true);
  sequence.learn[1].fill_(false);
  sequence.learn[3].fill_(false);
  sequence.targets[1].fill_(-100);  // what does not count is not read
  expect_like_twin(tiny_backbone(), Graph::layered("1-2-1"), kEverything, sequence);
}

TEST(Walk, without_targets_the_loss_and_all_gradients_are_zero) {
  Network network = make_network(tiny_backbone(), Graph::layered("1-2-1"));
  bind_gradients(network, kEverything);
  Sequence sequence = random_sequence(2, 5, 11, /*masked=*/true);
  sequence.learn.fill_(false);
  EXPECT_EQ(walk_gradients(network, sequence, kEverything, 0), 0);
  for (const auto& [name, gradient] : gradients_of(network)) EXPECT_EQ(gradient.abs().max().item<double>(), 0) << name;
}

TEST(Walk, a_batch_without_rows_and_sequences_of_one_token_run) {
  Network network = make_network(tiny_backbone(), Graph::layered("1-2-1"));
  bind_gradients(network, kEverything);
  EXPECT_EQ(walk_gradients(network, random_sequence(0, 5, 11, false), kEverything), 0);
  expect_like_twin(tiny_backbone(), Graph::layered("1-2-1"), kEverything, random_sequence(1, 1, 11, false));
}

TEST(Walk, gradients_of_micro_batches_add_up_to_those_of_the_batch) {
  Network network = make_network(tiny_backbone(), with_skips());
  const Sequence batch = random_sequence(4, 5, 11, /*masked=*/true);
  bind_gradients(network, kEverything);
  const double whole_loss = walk_gradients(network, batch, kEverything);
  const Tensors whole = gradients_of(network);
  bind_gradients(network, kEverything);
  const double loss = walk_gradients(network, batch.narrow({0, 3}), kEverything) +
                      walk_gradients(network, batch.narrow({3, 4}), kEverything);
  EXPECT_NEAR(loss, whole_loss, 1e-10 * whole_loss);
  expect_close(gradients_of(network), whole, 1e-10);
}

TEST(Walk, what_the_head_reads_is_what_the_twin_computes) {
  Network network = make_network(tiny_backbone(), with_skips());
  const Sequence sequence = random_sequence(3, 5, 11, false);
  const Tensors weights = weights_of(network);
  const Layout layout = whole_layout(network.graph(), 3);
  LocalExchange exchange;
  const at::Tensor hidden = Walk(network, layout, exchange, gradient_gaps(network.graph(), {})).hidden(sequence);
  EXPECT_FALSE(hidden.requires_grad());
  expect_close({{"hidden", hidden}},
               {{"hidden", Twin(network.backbone(), network.graph(), weights).hidden(sequence.tokens)}}, 1e-10);
}

TEST(Walk, a_token_changes_nothing_before_it) {
  Network network = make_network(tiny_backbone(), with_skips());
  const Layout layout = whole_layout(network.graph(), 2);
  LocalExchange exchange;
  Walk walk(network, layout, exchange, gradient_gaps(network.graph(), {}));
  Sequence sequence = random_sequence(2, 6, 11, false);
  const at::Tensor before = walk.hidden(sequence);
  sequence.tokens.select(1, 4).add_(1).remainder_(11);
  const at::Tensor after = walk.hidden(sequence);
  EXPECT_TRUE(at::equal(before.narrow(1, 0, 4), after.narrow(1, 0, 4)));
  EXPECT_GT((before - after).select(1, 4).abs().max().item<double>(), 1e-3);
}

/// |actual - expected| / |expected| of all tensors together.
double relative_error(const Tensors& actual, const Tensors& expected) {
  double difference = 0, size = 0;
  for (const auto& [name, value] : expected) {
    difference += (actual.at(name) - value).pow(2).sum().item<double>();
    size += value.pow(2).sum().item<double>();
  }
  return std::sqrt(difference / size);
}

TEST(Walk, narrower_types_stay_near_fp64) {
  const Graph graph = Graph::layered("1-4-4-1", {.input_edge = {EdgeKind::block}});
  const Sequence sequence = random_sequence(3, 5, 11, /*masked=*/true);
  for (const auto& [dtype, loss_tolerance, gradient_tolerance] :
       {std::tuple{at::kFloat, 1e-5, 1e-4}, std::tuple{at::kBFloat16, 0.02, 0.1}}) {
    SCOPED_TRACE(dtype);
    Network network(tiny_backbone(), graph, whole_placement(graph), 0, dtype);
    randomise(network, 1, 0.1);  // larger weights would measure how ill-conditioned the network is
    bind_gradients(network, kEverything);
    double expected_loss = 0;
    const Tensors expected = twin_gradients(network, sequence, kEverything, 1, expected_loss);
    EXPECT_NEAR(walk_gradients(network, sequence, kEverything), expected_loss, loss_tolerance * expected_loss);
    EXPECT_LT(relative_error(gradients_of(network), expected), gradient_tolerance);
    for (const Parameter& parameter : network.parameter_storage())
      EXPECT_EQ(parameter.gradient.scalar_type(), at::kFloat) << parameter.views[0].name;
  }
}

/// (loss(+h) - loss(-h)) / 2h when the parameter moves along `direction`.
double central_difference(Network& network, const Sequence& sequence, at::Tensor slot, const at::Tensor& direction) {
  const double h = 1e-5;
  auto moved = [&](double by) {
    at::NoGradGuard no_grad;
    slot.add_(direction, by);
    return walk_loss(network, sequence);
  };
  const double above = moved(h), below = moved(-2 * h);
  moved(h);
  return (above - below) / (2 * h);
}

TEST(Walk, gradients_agree_with_central_differences) {
  Network network = make_network(tiny_backbone("qwen2", /*tied=*/false), with_skips({.input_edge = {EdgeKind::block}}));
  const Sequence sequence = random_sequence(2, 5, 11, /*masked=*/true);
  bind_gradients(network, kEverything);
  walk_gradients(network, sequence, kEverything);
  for (Parameter& parameter : network.parameter_storage())
    for (const View& view : parameter.views) {
      at::Tensor slot = slice(parameter.value.detach(), view), gradient = slice(parameter.gradient, view);
      const at::Tensor along = gradient / gradient.norm().clamp_min(1e-30);
      at::Tensor entry = at::zeros_like(slot);
      entry.flatten()[slot.numel() / 2] = 1;
      for (const at::Tensor& direction : {along, entry}) {
        const double expected = (gradient * direction).sum().item<double>();
        EXPECT_NEAR(central_difference(network, sequence, slot, direction), expected,
                    1e-7 * std::max(1.0, std::abs(expected)))
            << view.name;
      }
    }
}

}  // namespace
}  // namespace lmnet
