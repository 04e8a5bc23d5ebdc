#include "trainer/generation/decoder.h"

#include <gmock/gmock.h>

#include <random>

#include "data/errors.h"
#include "model/graph/errors.h"
#include "tests/trainer/generation/helpers.h"

namespace lmnet {
namespace {

using testing::ConfiguredNetwork;
using testing::Ids;

constexpr const char* kTinyGpt2 =
    "{model_type: gpt2, n_embd: 16, n_layer: 2, n_head: 4, n_positions: 40, n_ctx: 40, vocab_size: 61, "
    "initializer_range: 0.2}";
constexpr const char* kQwen2 =
    "{model_type: qwen2, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2, num_attention_heads: 4, "
    "num_key_value_heads: 2, vocab_size: 61, tie_word_embeddings: true, initializer_range: 0.2}";
constexpr const char* kLlama =
    "{model_type: llama, hidden_size: 24, intermediate_size: 40, num_hidden_layers: 2, num_attention_heads: 2, "
    "num_key_value_heads: 1, head_dim: 20, vocab_size: 61, initializer_range: 0.2, max_position_embeddings: 128, "
    "rope_scaling: {rope_type: llama3, factor: 4, low_freq_factor: 1, high_freq_factor: 4, "
    "original_max_position_embeddings: 32}}";

std::string model(const char* backbone, const std::string& rest) {
  return std::string("model: {backbone: ") + backbone + ", " + rest + "}\n";
}

/// The presets' networks, those that classify with a language head instead, and graphs that they do not have.
std::vector<std::string> networks() {
  return {model(kTinyGpt2, "topology: 1-2-1, preset: reference-gpt2, input: {prefix: 5}"),
          model(kTinyGpt2, "topology: 1-2-1, preset: reference-gpt2, input: {prefix: 0}"),
          model(kQwen2, "topology: 1-2-2-1, preset: reference-causal"),
          model(kLlama, "topology: 2-1, preset: reference-causal"),
          model(kLlama, "topology: 1-2-1, preset: reference-classifier, classes: 0"),
          model(kQwen2, "topology: 1-2-1, preset: reference-classifier-separate, classes: 0, input: {prefix: 4}"),
          model(kTinyGpt2, "topology: '1'"),
          model(kQwen2, "topology: 1-2-1, sharing: level, output: sum, edge: [{kind: linear}, {kind: attention}]"),
          model(kLlama,
                "topology: {vertices: {a: {}, b: {}, c: {}}, edges: [{from: input, to: a}, "
                "{from: a, to: b, kind: block}, {from: a, to: c}, {from: b, to: c, kind: identity}, "
                "{from: c, to: head}]}")};
}

Ids random_ids(size_t count, unsigned seed, int32_t vocabulary = 61) {
  std::mt19937 random(seed);
  Ids ids(count);
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % vocabulary);
  return ids;
}

Ids first(const Ids& ids, size_t count) {
  return {ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(count)};
}

void expect_close(const at::Tensor& actual, const at::Tensor& expected) {
  ASSERT_EQ(actual.sizes(), expected.sizes());
  EXPECT_LT((actual - expected).abs().max().item<double>(), 1e-5 * expected.abs().max().item<double>());
}

TEST(Decoder, CachedDecodingIsTheFullForwardAtEveryPosition) {
  for (const std::string& yaml : networks()) {
    SCOPED_TRACE(yaml);
    ConfiguredNetwork network(yaml);
    const Ids ids = random_ids(30, 1);
    const at::Tensor expected = network.all(ids);
    for (const size_t prompt : {1U, 2U, 17U}) {
      Decoder decoder(network.engine, {first(ids, prompt)}, static_cast<int64_t>(ids.size() - prompt));
      for (size_t length = prompt; length < ids.size(); ++length) {
        expect_close(decoder.logits()[0], expected[static_cast<int64_t>(length) - 1]);
        decoder.step({&ids[length], 1});
      }
    }
  }
}

TEST(Decoder, RowsOfUnlikeLengthGiveBitForBitWhatEachGivesAlone) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16})
    for (const std::string& yaml : networks()) {
      SCOPED_TRACE(yaml);
      ConfiguredNetwork network(yaml, dtype);
      const std::vector<size_t> lengths = {7, 1, 12, 3, 7};
      std::vector<Ids> rows, prompts;
      std::vector<std::unique_ptr<Decoder>> alone;
      for (size_t r = 0; r < lengths.size(); ++r) {
        rows.push_back(random_ids(24, static_cast<unsigned>(r)));
        prompts.push_back(first(rows[r], lengths[r]));
        alone.push_back(std::make_unique<Decoder>(network.engine, std::vector<Ids>{prompts[r]}, 12));
      }
      Decoder together(network.engine, prompts, 12);
      std::vector<int64_t> here = {0, 1, 2, 3, 4};
      for (int64_t step = 0; step < 11; ++step) {
        if (step == 6) {  // two rows are done
          together.select({1, 2, 4});
          here = {1, 2, 4};
        }
        Ids next;
        for (size_t i = 0; i < here.size(); ++i) {
          EXPECT_TRUE(at::equal(together.logits()[static_cast<int64_t>(i)], alone[here[i]]->logits()[0]));
          next.push_back(rows[here[i]][lengths[here[i]] + step]);
          alone[here[i]]->step({&next.back(), 1});
        }
        together.step(next);
      }
    }
}

TEST(Decoder, PromptsPaddedOnTheRightRunAsOneBatch) {
  for (const std::string& yaml : networks()) {
    SCOPED_TRACE(yaml);
    ConfiguredNetwork network(yaml);
    const std::vector<int64_t> lengths = {4, 9, 1};
    std::vector<Ids> rows;
    std::vector<at::Tensor> expected;
    at::Tensor padded = at::zeros({3, 9}, at::kLong);
    for (int64_t r = 0; r < 3; ++r) {
      rows.push_back(random_ids(20, static_cast<unsigned>(r)));
      expected.push_back(network.all(rows.back()));
      for (int64_t t = 0; t < lengths[r]; ++t) padded[r][t] = rows[r][t];
    }
    Cache cache(3, 20);
    const at::Tensor hidden = network.engine.hidden({padded, {}, {}}, cache);
    std::vector<int64_t> start = lengths;
    for (int64_t r = 0; r < 3; ++r)
      expect_close(network.engine.logits(hidden[r].narrow(0, 0, lengths[r])), expected[r].narrow(0, 0, lengths[r]));
    for (int64_t step = 0; step < 10; ++step) {
      at::Tensor column = at::empty({3, 1}, at::kLong);
      for (int64_t r = 0; r < 3; ++r) column[r][0] = rows[r][start[r]];
      const at::Tensor logits =
          network.engine.logits(network.engine.hidden({column, {}, {}, start}, cache).select(1, 0));
      for (int64_t r = 0; r < 3; ++r) expect_close(logits[r], expected[r][start[r]++]);
    }
  }
}

TEST(Decoder, SeveralTokensMayFollowWhatIsCached) {
  for (const std::string& yaml : networks()) {
    SCOPED_TRACE(yaml);
    ConfiguredNetwork network(yaml);
    const Ids ids = random_ids(20, 1);
    const at::Tensor tokens = at::tensor(std::vector<int64_t>(ids.begin(), ids.end())).unsqueeze(0);
    Cache cache(1, 20);
    const auto part = [&](int64_t begin, int64_t count) {
      return network.engine.hidden({tokens.narrow(1, begin, count), {}, {}, {begin}}, cache);
    };
    const at::Tensor first = part(0, 6), second = part(6, 9), third = part(15, 5);
    expect_close(network.engine.logits(at::cat({first, second, third}, 1)[0]), network.all(ids));
  }
}

TEST(Decoder, SelectedRowsGoOnAsCopies) {
  for (const std::string& yaml : networks()) {
    SCOPED_TRACE(yaml);
    ConfiguredNetwork network(yaml);
    std::vector<Ids> rows = {random_ids(5, 1), random_ids(9, 2)};
    Decoder decoder(network.engine, rows, 12);
    unsigned seed = 10;
    for (const std::vector<int64_t>& from : {std::vector<int64_t>{0, 0, 1}, {2, 1}, {1, 0, 1, 0}, {3}, {0, 0}}) {
      std::vector<Ids> chosen;
      for (const int64_t row : from) chosen.push_back(rows[row]);
      rows = chosen;
      decoder.select(from);
      ASSERT_EQ(decoder.rows(), static_cast<int64_t>(from.size()));
      for (size_t r = 0; r < rows.size(); ++r)
        expect_close(decoder.logits()[static_cast<int64_t>(r)], network.next(rows[r]));
      const Ids next = random_ids(rows.size(), ++seed);
      for (size_t r = 0; r < rows.size(); ++r) rows[r].push_back(next[r]);
      decoder.step(next);
    }
    for (size_t r = 0; r < rows.size(); ++r)
      expect_close(decoder.logits()[static_cast<int64_t>(r)], network.next(rows[r]));
  }
}

TEST(Decoder, ItsCacheHoldsKeysAndValuesOfEveryBlockAtEveryPlace) {
  ConfiguredNetwork network(model(kQwen2, "topology: 1-2-1, preset: reference-causal"));
  const Decoder decoder(network.engine, {{1, 2, 3}}, 7);
  const int64_t slots = 4 * 2 + 5;  // vertices x blocks, edges
  EXPECT_EQ(decoder.cache_bytes(), slots * 2 * /*heads x width*/ 2 * 4 * /*tokens*/ 10 * /*bytes*/ 4);
}

TEST(Decoder, LearnedPositionsMustSuffice) {
  ConfiguredNetwork network(model(kTinyGpt2, "topology: 1-2-1, preset: reference-gpt2, input: {prefix: 5}"));
  EXPECT_NO_THROW(check_room(network.engine.network().shape(), 20, 16));
  try {
    Decoder(network.engine, {random_ids(20, 1)}, 17);
    FAIL() << "no error";
  } catch (const DataError& error) {
    EXPECT_STREQ(error.what(),
                 "a prompt of 20 tokens (after a prefix of 5) and 17 new ones do not fit into the 40 "
                 "positions of this gpt2 network: shorten the prompt or lower --max-new-tokens");
  }
  ConfiguredNetwork rotary(model(kLlama, "topology: '1'"));
  EXPECT_NO_THROW(check_room(rotary.engine.network().shape(), 1000, 1000));
}

TEST(Decoder, ClassifiersDoNotGenerate) {
  ConfiguredNetwork network(model(kLlama, "topology: 1-2-1, preset: reference-classifier"));
  EXPECT_THROW(Decoder(network.engine, {{1}}, 1), ConfigError);
}

}  // namespace
}  // namespace lmnet
