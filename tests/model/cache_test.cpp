#include "model/cache.h"

#include <gtest/gtest.h>

#include "model/walk.h"
#include "tests/model/twin.h"

namespace lmnet {
namespace {

using namespace test;
using enum EdgeKind;

struct Net {
  const char* name;
  BackboneConfig backbone;
  GraphOptions options = {};
  int64_t prefix = 0;
  const char* topology = "1-3-2-1";
};

BackboneConfig tiny_gpt2() {
  BackboneConfig backbone = tiny_backbone();
  backbone.family = BackboneConfig::Family::gpt2;
  backbone.kv_heads = backbone.heads;
  backbone.positions = 32;
  return backbone;
}

std::vector<Net> nets() {
  return {{"a backbone", tiny_backbone(), {}, 0, "1"},
          {"blocks", tiny_backbone("llama", false), {.input_edge = {block}}},
          {"separate vertices and mlp input edges", tiny_backbone(), {.sharing = Sharing::none, .input_edge = {mlp}}},
          {"gpt2 with prefix, chained input edges and residual",
           tiny_gpt2(),
           {.aggregation = Aggregation::sum,
            .edge = {attention},
            .input_edge = {attention, attention, attention},
            .residual = true},
           4}};
}

/// What the head reads of whole rows at once, and of the same rows step by step through a cache.
class Generation {
 public:
  Generation(const Net& net, int64_t rows, int64_t capacity)
      : network_(shape(net), Graph::layered(net.topology, net.options), whole_placement(graph(net)), 0, at::kFloat),
        cache_(rows, capacity) {
    randomise(network_, 3, 0.2);
  }

  at::Tensor whole(const at::Tensor& tokens) { return walk(tokens.size(0)).hidden({tokens, {}, {}}); }
  at::Tensor cached(const at::Tensor& tokens, std::vector<int64_t> start) {
    return walk(tokens.size(0)).hidden({tokens, {}, {}, std::move(start)}, cache_);
  }
  Cache& cache() { return cache_; }

 private:
  static NetworkShape shape(const Net& net) {
    NetworkShape shape(net.backbone);
    shape.prefix = net.prefix;
    return shape;
  }
  static Graph graph(const Net& net) { return Graph::layered(net.topology, net.options); }
  Walk walk(int64_t rows) {
    layout_ = whole_layout(network_.graph(), rows);
    return Walk(network_, layout_, exchange_, std::vector<bool>(network_.graph().levels(), false));
  }

  Network network_;
  Cache cache_;
  Layout layout_;
  LocalExchange exchange_;
};

double error(const at::Tensor& got, const at::Tensor& expected) {
  return ((got - expected).abs().max() / expected.abs().max()).item<double>();
}

TEST(Cache, step_by_step_is_the_whole_row_at_every_position) {
  for (const Net& net : nets()) {
    Generation generation(net, 2, 9);
    const at::Tensor tokens = random_sequence(2, 9, 11, false).tokens, expected = generation.whole(tokens);
    EXPECT_LT(error(generation.cached(tokens.narrow(1, 0, 4), {0, 0}), expected.narrow(1, 0, 4)), 1e-5) << net.name;
    EXPECT_LT(error(generation.cached(tokens.narrow(1, 4, 2), {4, 4}), expected.narrow(1, 4, 2)), 1e-5) << net.name;
    for (int64_t t = 6; t < 9; ++t)
      EXPECT_LT(error(generation.cached(tokens.narrow(1, t, 1), {t, t}), expected.narrow(1, t, 1)), 1e-5)
          << net.name << ", position " << t;
  }
}

TEST(Cache, prompts_of_unlike_length_share_a_batch) {
  const std::vector<int64_t> lengths = {5, 2, 3};
  for (const Net& net : nets()) {
    Generation generation(net, 3, 8);
    const at::Tensor tokens = random_sequence(3, 8, 11, false).tokens, expected = generation.whole(tokens);
    const at::Tensor prompts = generation.cached(tokens.narrow(1, 0, 5), {0, 0, 0});
    for (int64_t row = 0; row < 3; ++row)
      EXPECT_LT(error(prompts[row].narrow(0, 0, lengths[row]), expected[row].narrow(0, 0, lengths[row])), 1e-5)
          << net.name;
    std::vector<int64_t> start = lengths;
    for (int step = 0; step < 3; ++step) {
      std::vector<at::Tensor> next;
      for (int64_t row = 0; row < 3; ++row) next.push_back(tokens[row].narrow(0, start[row], 1));
      const at::Tensor hidden = generation.cached(at::stack(next), start);
      for (int64_t row = 0; row < 3; ++row)
        EXPECT_LT(error(hidden[row][0], expected[row][start[row]]), 1e-5) << net.name << ", row " << row;
      for (int64_t& s : start) ++s;
    }
  }
}

TEST(Cache, rows_can_be_copied_dropped_and_reordered) {
  for (const Net& net : nets()) {
    Generation generation(net, 2, 6);
    const at::Tensor tokens = random_sequence(2, 6, 11, false).tokens;
    generation.cached(tokens.narrow(1, 0, 4), {0, 0});
    generation.cache().select({1, 0, 1});
    const at::Tensor chosen = tokens.index_select(0, at::tensor({1, 0, 1}));
    EXPECT_LT(error(generation.cached(chosen.narrow(1, 4, 1), {4, 4, 4}), generation.whole(chosen).narrow(1, 4, 1)),
              1e-5)
        << net.name;
  }
}

}  // namespace
}  // namespace lmnet
