#include <gtest/gtest.h>

#include "model/walk.h"
#include "tests/model/twin.h"

/// Sequence::lengths: what the vectors of padding themselves are; those of real tokens never depend on it.
namespace lmnet {
namespace {

using namespace test;

class Padding : public ::testing::Test {
 protected:
  Padding() : network_(tiny_backbone(), graph_, whole_placement(graph_), 0, at::kDouble) { randomise(network_); }

  at::Tensor hidden(const Sequence& sequence) {
    const Layout layout = whole_layout(graph_, sequence.rows());
    LocalExchange exchange;
    return Walk(network_, layout, exchange, gradient_gaps(graph_, {})).hidden(sequence);
  }

  Graph graph_ = Graph::layered("2-2", {.output = Output::sum, .input_edge = {EdgeKind::block}});
  Network network_;
  Sequence sequence_ = random_sequence(3, 6, 11, /*masked=*/false);
};

TEST_F(Padding, leaves_the_vectors_of_real_tokens_as_they_are) {
  const at::Tensor all = hidden(sequence_);
  sequence_.lengths = {6, 4, 1};
  const at::Tensor padded = hidden(sequence_);
  for (int64_t row = 0; row < 3; ++row) {
    const int64_t real = sequence_.lengths[row];
    EXPECT_TRUE(at::allclose(padded[row].narrow(0, 0, real), all[row].narrow(0, 0, real), 1e-10, 1e-10)) << row;
    EXPECT_EQ(real == 6, at::allclose(padded[row], all[row])) << row;
  }
}

TEST_F(Padding, is_not_seen_by_other_padding) {
  sequence_.lengths = {6, 4, 1};
  const at::Tensor before = hidden(sequence_);
  sequence_.tokens = sequence_.tokens.clone();
  for (int64_t row = 1; row < 3; ++row) {
    const int64_t first = sequence_.lengths[row];
    sequence_.tokens[row][first] = (sequence_.tokens[row][first] + 1) % 11;
    const at::Tensor after = hidden(sequence_);
    EXPECT_FALSE(at::allclose(after[row][first], before[row][first])) << row;
    EXPECT_TRUE(at::equal(after[row].slice(0, first + 1), before[row].slice(0, first + 1))) << row;
  }
}

}  // namespace
}  // namespace lmnet
