#include "trainer/generation/beam.h"

#include <gmock/gmock.h>

#include <cmath>

#include "model/graph/errors.h"
#include "tests/trainer/generation/helpers.h"
#include "trainer/generation/sampler.h"

namespace lmnet {
namespace {

using testing::ChainNetwork;
using ::testing::ElementsAre;
using testing::Ids;

constexpr double kNever = -std::numeric_limits<double>::infinity();

/// The reference's loop, tensor by tensor, with a forward of every beam's whole row for every step; all `beams` rows
/// stay, dead ones at -inf.
BeamResult plain_search(testing::LoneNetwork& network, const Ids& prompt, const BeamOptions& options) {
  const int64_t width = options.beams;
  std::vector<Ids> history(1);
  std::vector<double> score = {0};
  BeamResult best;
  best.score = kNever;
  const auto consider = [&](size_t row) {
    const double value = score[row] / std::pow(static_cast<double>(history[row].size()), options.length_penalty);
    if (best.score < value) best = {history[row], score[row], value, {}, {}};
    score[row] = kNever;
  };
  for (int64_t step = 0; step < options.max_new_tokens; ++step) {
    std::vector<at::Tensor> rows;
    for (size_t b = 0; b < history.size(); ++b) {
      Ids ids = prompt;
      ids.insert(ids.end(), history[b].begin(), history[b].end());
      at::Tensor logits = network.next(ids).to(at::kDouble).clone();
      for (const int32_t id : repeating_tokens(history[b], options.no_repeat_ngram)) logits[id] = kNever;
      rows.push_back(at::log_softmax(logits, 0) + score[b]);
    }
    const at::Tensor all = at::cat(rows);
    const auto [values, places] = all.sort(/*stable=*/true, /*dim=*/0, /*descending=*/true);
    const int64_t vocabulary = rows.front().size(0);
    std::vector<Ids> next;
    score.clear();
    for (int64_t i = 0; i < width; ++i) {
      const auto place = places[i].item<int64_t>();
      next.push_back(history[place / vocabulary]);
      next.back().push_back(static_cast<int32_t>(place % vocabulary));
      score.push_back(values[i].item<double>());
    }
    history = next;
    for (size_t b = 0; b < history.size(); ++b)
      if (options.ends.contains(history[b].back())) consider(b);
  }
  for (size_t b = 0; b < history.size(); ++b) consider(b);
  return best;
}

/// Logits whose softmax are the rows of `probabilities`.
at::Tensor logs(const std::vector<std::vector<double>>& probabilities) {
  std::vector<at::Tensor> rows;
  for (const auto& row : probabilities) rows.push_back(at::tensor(row, at::kDouble).log().clamp_min(-1000));
  return at::stack(rows);
}

TEST(Beam, AgreesWithThePlainSearchOfTheReference) {
  testing::ConfiguredNetwork network(
      "model: {backbone: {model_type: qwen2, hidden_size: 8, intermediate_size: 12, num_hidden_layers: 1, "
      "num_attention_heads: 2, num_key_value_heads: 1, vocab_size: 9, initializer_range: 0.6}, topology: 1-2-1}",
      at::kDouble);
  for (uint64_t seed = 0; seed < 6; ++seed) {
    network.engine.initialize(seed);
    for (const int64_t ngram : {0, 1, 2, 3})
      for (const int64_t beams : {1, 3, 9}) {
        const BeamOptions options{.beams = beams,
                                  .max_new_tokens = ngram == 1 ? 6 : 14,
                                  .length_penalty = 0.9,
                                  .no_repeat_ngram = ngram,
                                  .ends = {4, 8}};
        const Ids prompt = {static_cast<int32_t>(seed % 9), 2};
        const BeamResult expected = plain_search(network, prompt, options);
        const BeamResult got = search_beams(network.engine, prompt, options);
        EXPECT_EQ(got.ids, expected.ids);
        EXPECT_NEAR(got.score, expected.score, 1e-9);
        EXPECT_NEAR(got.logprob, expected.logprob, 1e-9);
      }
  }
}

TEST(Beam, FindsWhatGreedyMisses) {
  // After 0: 1 is likelier than 2, but what follows 1 is uncertain.
  ChainNetwork network(logs({{0, 0.6, 0.4, 0}, {0.3, 0.3, 0.3, 0.1}, {0, 0, 0, 1}, {0, 0, 0, 1}}));
  const BeamResult best = search_beams(network.engine, Ids{0}, {.beams = 2, .max_new_tokens = 2, .no_repeat_ngram = 0});
  EXPECT_THAT(best.ids, ElementsAre(2, 3));
  EXPECT_NEAR(best.logprob, std::log(0.4), 1e-9);
  EXPECT_NEAR(best.score, std::log(0.4) / std::pow(2, 0.9), 1e-9);
}

TEST(Beam, AFinishedBeamLeavesAndTheOthersFillItsPlace) {
  // 3 ends. It is the best first token; from then on both beams go on from 1 and 2.
  ChainNetwork network(logs({{0, 0.3, 0.2, 0.5}, {0, 0.5, 0.5, 0}, {0, 0.5, 0.5, 0}, {0, 0, 0, 1}}));
  const BeamResult best =
      search_beams(network.engine, Ids{0},
                   {.beams = 2, .max_new_tokens = 3, .length_penalty = 0, .no_repeat_ngram = 0, .ends = {3}});
  EXPECT_THAT(best.ids, ElementsAre(3));
  EXPECT_THAT(best.step_tokens, ElementsAre(ElementsAre(3, 1), ElementsAre(1, 2), ElementsAre(1, 2)));
  EXPECT_NEAR(best.step_scores[0][0], std::log(0.5), 1e-9);  // before it leaves
  EXPECT_NEAR(best.step_scores[1][1], std::log(0.15), 1e-9);
}

TEST(Beam, EndsWhenNoBeamIsAlive) {
  ChainNetwork network(logs({{0, 0.5, 0.5}, {0, 0.5, 0.5}, {0, 0.5, 0.5}}));
  const BeamResult best = search_beams(network.engine, Ids{0}, {.beams = 2, .no_repeat_ngram = 0, .ends = {1, 2}});
  EXPECT_THAT(best.ids, ElementsAre(1));
  EXPECT_EQ(best.step_tokens.size(), 1U);
}

TEST(Beam, ThoseAliveAtTheEndAreCandidatesToo) {
  ChainNetwork network(logs({{0, 0.9, 0.1}, {0, 0.9, 0.1}, {0, 0, 1}}));
  const BeamOptions options{.beams = 2, .max_new_tokens = 4, .no_repeat_ngram = 0, .ends = {2}};
  EXPECT_THAT(search_beams(network.engine, Ids{0}, options).ids, ElementsAre(1, 1, 1, 1));
}

TEST(Beam, OfEqualContinuationsTheEarlierBeamsAndTheLowerIdWins) {
  ChainNetwork network(at::zeros({4, 4}));
  const BeamResult best = search_beams(network.engine, Ids{0},
                                       {.beams = 3, .max_new_tokens = 2, .length_penalty = 0, .no_repeat_ngram = 0});
  EXPECT_THAT(best.step_tokens, ElementsAre(ElementsAre(0, 1, 2), ElementsAre(0, 1, 2)));
  EXPECT_THAT(best.ids, ElementsAre(0, 0));
}

TEST(Beam, OfEqualCandidatesTheFirstStays) {
  ChainNetwork network(logs({{0, 0.5, 0.5, 0}, {0, 0, 0, 1}, {0, 0, 0, 1}, {0, 0, 0, 1}}));
  const BeamOptions options{.beams = 2, .max_new_tokens = 3, .length_penalty = 0, .no_repeat_ngram = 0, .ends = {2, 3}};
  EXPECT_THAT(search_beams(network.engine, Ids{0}, options).ids, ElementsAre(2));
}

TEST(Beam, BannedTokensLeaveTheirProbabilityToTheOthers) {
  // 1 again and again, until the ban of the pair (1, 1) makes 2 certain.
  ChainNetwork network(logs({{0, 1, 0}, {0, 0.9, 0.1}, {0, 1, 0}}));
  const BeamResult best = search_beams(network.engine, Ids{0},
                                       {.beams = 1, .max_new_tokens = 3, .length_penalty = 0, .no_repeat_ngram = 2});
  EXPECT_THAT(best.ids, ElementsAre(1, 1, 2));
  EXPECT_NEAR(best.logprob, std::log(0.9), 1e-9);
}

TEST(Beam, TheWidthIsFromOneToTheVocabulary) {
  ChainNetwork network(at::zeros({4, 4}));
  EXPECT_THROW(search_beams(network.engine, Ids{0}, {.beams = 0}), ConfigError);
  EXPECT_THROW(search_beams(network.engine, Ids{0}, {.beams = 5}), ConfigError);
}

}  // namespace
}  // namespace lmnet
