#include "trainer/describe.h"

#include <gtest/gtest.h>

#include "model/network.h"
#include "tests/trainer/config/helpers.h"

namespace lmnet {
namespace {

const std::string gpt2 =
    "{model_type: gpt2, n_embd: 8, n_layer: 3, n_head: 2, n_inner: 20, vocab_size: 50, n_positions: 64}";
const std::string llama =
    "{model_type: llama, hidden_size: 8, intermediate_size: 20, num_hidden_layers: 3, num_attention_heads: 2, "
    "num_key_value_heads: 1, vocab_size: 50, tie_word_embeddings: true}";

ModelSpec resolve(const std::string& backbone, const std::string& more = "topology: 1-1") {
  return resolve_model(testing::parse("model: {backbone: " + backbone + ", " + more + "}").model);
}

TEST(ShortCount, has_three_digits_and_the_units_of_the_config) {
  const std::vector<std::pair<double, std::string>> tokens = {
      {0, "0 t"},       {2048, "2048 t"},    {9999, "9999 t"},    {10000, "10 Kt"},  {81920, "81.9 Kt"},
      {999999, "1 Mt"}, {15.7e6, "15.7 Mt"}, {1.14e9, "1.14 Gt"}, {4.3e12, "4.3 Tt"}};
  for (const auto& [count, text] : tokens) EXPECT_EQ(short_count(count, "t"), text);
  EXPECT_EQ(short_count(512), "512");
  EXPECT_EQ(short_count(15.7e6), "15.7 M");
}

TEST(Counted, has_a_word_for_one) {
  EXPECT_EQ(counted(0, "file"), "0 files");
  EXPECT_EQ(counted(1, "file"), "1 file");
  EXPECT_EQ(counted(2, "bad record"), "2 bad records");
}

TEST(TrainingFlops, count_the_products_of_each_family_and_kind_of_edge) {
  constexpr double d = 8, length = 16, head = 50 * d, attention = 2 * d * length;
  constexpr double gpt2_block = 2 * (4 * d * d + 2 * 20 * d) + attention;
  constexpr double llama_block = 2 * (d * (8 + 4 + 4) + d * d + 3 * 20 * d) + attention;
  const auto forward = [](const ModelSpec& spec) { return training_flops_per_token(spec, {}, 16); };
  EXPECT_EQ(forward(resolve(gpt2, "topology: 1")), 3 * gpt2_block + 2 * head);
  EXPECT_EQ(forward(resolve(llama, "topology: 1")), 3 * llama_block + 2 * head);
  EXPECT_EQ(forward(resolve(llama, "topology: 1, classes: 4")), 3 * llama_block + 2 * 4 * d);
  const std::map<std::string, double> links = {{"block", llama_block + 2 * d * d},
                                               {"attention", 2 * 5 * d * d + attention},
                                               {"mlp", 2 * d * d},
                                               {"linear", 2 * d * d},
                                               {"identity", 0}};
  for (const auto& [kind, flops] : links)
    EXPECT_EQ(forward(resolve(llama, "topology: 1-1, edge: [{kind: " + kind + "}, {kind: linear}]")),
              6 * llama_block + flops + 2 * d * d + 2 * head)
        << kind;
}

TEST(TrainingFlops, of_a_prefix_are_those_of_its_vectors_without_the_head) {
  const ModelSpec plain = resolve(llama), with_prefix = resolve(llama, "topology: 1-1, input: {prefix: 16}");
  constexpr double head = 2 * 50 * 8;
  EXPECT_EQ(training_flops_per_token(with_prefix, {}, 16) - head, 2 * (training_flops_per_token(plain, {}, 32) - head));
}

TEST(TrainingFlops, of_what_is_frozen_are_the_forward_and_the_gradient_behind_what_trains) {
  const ModelSpec spec = resolve(llama);
  const double forward = training_flops_per_token(spec, {}, 16);
  const double all = training_flops_per_token(spec, {.edges = true, .vertices = true, .embeddings = true}, 16);
  const double edges = training_flops_per_token(spec, {.edges = true}, 16);
  EXPECT_EQ(all, 3 * forward);
  EXPECT_GT(edges, forward);
  EXPECT_LT(edges, 2 * forward);
}

}  // namespace
}  // namespace lmnet
