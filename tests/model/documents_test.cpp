#include <gtest/gtest.h>

#include <tuple>

#include "model/walk.h"
#include "tests/model/twin.h"

/// Sequence::documents: packed documents are what they are alone.
namespace lmnet {
namespace {

using namespace test;

constexpr double kTolerance = 1e-10;

struct Result {
  std::vector<at::Tensor> hidden;  // of each document [L, D]
  double loss = 0;
  Tensors gradients;
};

class Documents : public ::testing::TestWithParam<std::tuple<const char*, EdgeKinds>> {
 protected:
  Documents()
      : backbone_(with_positions(tiny_backbone(std::get<0>(GetParam())))),
        graph_(Graph::layered("1-2-1", {.edge = std::get<1>(GetParam()), .input_edge = {EdgeKind::block}})),
        network_(backbone_, graph_, whole_placement(graph_), 0, at::kDouble) {
    randomise(network_);
    bind_gradients(network_, {true, true, true});
  }

  static BackboneConfig with_positions(BackboneConfig backbone) {
    if (backbone.gpt2()) backbone.positions = kLength;
    return backbone;
  }

  Walk walk(const Layout& layout) { return {network_, layout, exchange_, gradient_gaps(graph_, {true, true, true})}; }

  at::Tensor hidden(const Sequence& sequence) {
    const Layout layout = whole_layout(graph_, sequence.rows());
    return walk(layout).hidden(sequence);
  }

  double add_loss(const Sequence& sequence) {
    const Layout layout = whole_layout(graph_, sequence.rows());
    return walk(layout).loss_and_gradients(sequence, 0.5).item<double>();
  }

  Result packed(const Sequence& sequence) {
    Result result;
    const at::Tensor all = hidden(sequence);
    visit(sequence.documents, [&](int64_t row, int64_t begin, int64_t length) {
      result.hidden.push_back(all[row].narrow(0, begin, length));
    });
    result.loss = add_loss(sequence);
    result.gradients = gradients_of(network_);
    return result;
  }

  Result alone(const Sequence& sequence) {
    Result result;
    visit(sequence.documents, [&](int64_t row, int64_t begin, int64_t length) {
      const auto cut = [&](const at::Tensor& whole) { return whole.narrow(0, row, 1).narrow(1, begin, length); };
      const Sequence document{cut(sequence.tokens), cut(sequence.targets), cut(sequence.learn)};
      result.hidden.push_back(hidden(document)[0]);
      result.loss += add_loss(document);
    });
    result.gradients = gradients_of(network_);
    return result;
  }

  static void visit(const DocumentStarts& documents, const std::function<void(int64_t, int64_t, int64_t)>& take) {
    for (size_t row = 0; row < documents.size(); ++row)
      for (size_t i = 0; i < documents[row].size(); ++i) {
        const int64_t begin = documents[row][i];
        take(static_cast<int64_t>(row), begin,
             (i + 1 < documents[row].size() ? documents[row][i + 1] : kLength) - begin);
      }
  }

  static constexpr int64_t kLength = 14;
  BackboneConfig backbone_;
  Graph graph_;
  Network network_;
  LocalExchange exchange_;
};

TEST_P(Documents, have_the_vectors_losses_and_gradients_that_they_have_alone) {
  Sequence sequence = random_sequence(4, kLength, 11, /*masked=*/true);
  sequence.documents = {{0}, {0, 1, 2, 7}, {0, 9}, {0, 3, 13}};
  const Result together = packed(sequence);
  bind_gradients(network_, {true, true, true});
  const Result apart = alone(sequence);
  ASSERT_EQ(together.hidden.size(), 10u);
  for (size_t i = 0; i < together.hidden.size(); ++i)
    EXPECT_TRUE(at::allclose(together.hidden[i], apart.hidden[i], kTolerance, kTolerance)) << "document " << i;
  EXPECT_NEAR(together.loss, apart.loss, kTolerance * std::abs(apart.loss));
  for (const auto& [name, gradient] : apart.gradients) {
    // That of a key's bias without rotary positions is zero but for rounding.
    const double largest = gradient.abs().max().item<double>();
    const double difference = (together.gradients.at(name) - gradient).abs().max().item<double>();
    EXPECT_LE(difference, kTolerance * (largest > 1e-14 ? largest : 1)) << name;
  }
}

TEST_P(Documents, of_whole_rows_change_nothing) {
  Sequence sequence = random_sequence(3, kLength, 11, /*masked=*/false);
  const at::Tensor plain = hidden(sequence);
  sequence.documents = {{0}, {0}, {0}};
  EXPECT_TRUE(at::allclose(hidden(sequence), plain, 1e-13, 1e-13));
}

std::string test_name(const ::testing::TestParamInfo<Documents::ParamType>& info) {
  std::string name = std::get<0>(info.param);
  for (const EdgeKind kind : std::get<1>(info.param)) name += "_" + to_string(EdgeKinds{kind});
  return name;
}

INSTANTIATE_TEST_SUITE_P(Families, Documents,
                         ::testing::Combine(::testing::Values("gpt2", "llama", "qwen2"),
                                            ::testing::Values(EdgeKinds{EdgeKind::block},
                                                              EdgeKinds{EdgeKind::attention},
                                                              EdgeKinds{EdgeKind::mlp, EdgeKind::attention})),
                         test_name);

TEST(DocumentStarts, must_be_of_each_row_and_go_with_no_prefix) {
  NetworkShape shape(tiny_backbone());
  shape.prefix = 2;
  const Graph graph = Graph::layered("1", {});
  Network network(shape, graph, whole_placement(graph), 0, at::kDouble);
  randomise(network);
  Sequence sequence = random_sequence(2, 6, 11, false);
  const Layout layout = whole_layout(graph, 2);
  LocalExchange exchange;
  sequence.documents = {{0, 3}, {0}};
  EXPECT_THROW(Walk(network, layout, exchange, gradient_gaps(graph, {})).hidden(sequence), c10::Error);
}

TEST(DocumentStarts, follow_the_rows_and_number_the_tokens) {
  Sequence sequence = random_sequence(3, 5, 11, false);
  sequence.documents = {{0}, {0, 2}, {0, 1, 4}};
  EXPECT_EQ(sequence.narrow({1, 3}).documents, (DocumentStarts{{0, 2}, {0, 1, 4}}));
  EXPECT_TRUE(at::equal(document_ids(sequence.documents, 5, at::kCPU)[2], at::tensor({0, 1, 1, 1, 2}, at::kLong)));
}

}  // namespace
}  // namespace lmnet
