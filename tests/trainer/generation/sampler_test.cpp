#include "trainer/generation/sampler.h"

#include <gmock/gmock.h>

#include <cmath>
#include <map>

#include "model/graph/errors.h"

namespace lmnet {
namespace {

const std::vector<double> logits = {0.5, 2.0, -1.0, 1.0};

/// How often each token comes in evenly spread draws.
std::map<int32_t, double> shares(const Sampling& sampling, const std::vector<int32_t>& context = {}) {
  constexpr int draws = 20000;
  std::map<int32_t, double> shares;
  for (int i = 0; i < draws; ++i) shares[choose_token(logits, context, sampling, (i + 0.5) / draws).id] += 1.0 / draws;
  return shares;
}

std::vector<double> softmax(std::vector<double> scores) {
  double sum = 0;
  for (double& score : scores) sum += score = std::exp(score);
  for (double& score : scores) score /= sum;
  return scores;
}

TEST(Sampler, TemperatureZeroTakesTheMostLikely) {
  for (const double draw : {0.0, 0.5, 0.999}) EXPECT_EQ(choose_token(logits, {}, {}, draw).id, 1);
}

TEST(Sampler, EqualTokensGoByTheLowerId) {
  EXPECT_EQ(choose_token(std::vector<double>{1, 3, 3}, {}, {}, 0.9).id, 1);
  EXPECT_EQ(choose_token(std::vector<double>{1, 3, 3}, {}, {.temperature = 1, .top_k = 1}, 0.9).id, 1);
}

TEST(Sampler, DrawsTokensByTheirProbability) {
  const auto got = shares({.temperature = 2});
  const auto expected = softmax({0.25, 1, -0.5, 0.5});
  for (int32_t id = 0; id < 4; ++id) EXPECT_NEAR(got.at(id), expected[id], 2e-4);
}

TEST(Sampler, LowTemperatureComesToGreedy) {
  EXPECT_NEAR(shares({.temperature = 0.05}).at(1), 1, 1e-3);
}

TEST(Sampler, TopKKeepsTheMostLikely) {
  EXPECT_EQ(shares({.temperature = 1, .top_k = 1}), (std::map<int32_t, double>{{1, shares({}).at(1)}}));
  const auto two = shares({.temperature = 1, .top_k = 2});
  EXPECT_EQ(two.size(), 2U);
  EXPECT_NEAR(two.at(3), softmax({2, 1})[1], 2e-4);
}

TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
  const auto p = softmax(logits);  // 0.14, 0.61, 0.03, 0.22
  EXPECT_EQ(shares({.temperature = 1, .top_p = p[1] - 0.01}).size(), 1U);
  EXPECT_EQ(shares({.temperature = 1, .top_p = p[1] + 0.01}).size(), 2U);
  EXPECT_EQ(shares({.temperature = 1, .top_p = 0.9}).size(), 3U);
  EXPECT_EQ(shares({.temperature = 1, .top_p = 1}).size(), 4U);
}

TEST(Sampler, RepetitionPenaltyWeakensEachSeenTokenOnce) {
  EXPECT_EQ(choose_token(logits, std::vector<int32_t>{1, 1}, {.repetition_penalty = 1.9}, 0).id, 1);
  EXPECT_EQ(choose_token(logits, std::vector<int32_t>{1}, {.repetition_penalty = 2.1}, 0).id, 3);
  const auto got = shares({.temperature = 1, .repetition_penalty = 2}, {2, 0});
  EXPECT_NEAR(got.at(2), softmax({0.25, 2, -2, 1})[2], 2e-4);
}

TEST(Sampler, BannedTokensAreNotChosen) {
  EXPECT_EQ(choose_token(logits, {}, {}, 0, {1}).id, 3);
  for (int i = 0; i < 100; ++i) EXPECT_NE(choose_token(logits, {}, {.temperature = 5}, i / 100.0, {1, 2}).id % 3, 1);
  EXPECT_EQ(choose_token(logits, {}, {}, 0, {0, 1, 2, 3}).id, 1);  // a ban of everything is none
}

TEST(Sampler, TokensThatRepeatAnNgramAreFound) {
  const std::vector<int32_t> tokens = {1, 2, 3, 1, 2, 4, 1, 2};
  EXPECT_EQ(repeating_tokens(tokens, 3), (std::set<int32_t>{3, 4}));
  EXPECT_EQ(repeating_tokens(tokens, 2), (std::set<int32_t>{3, 4}));
  EXPECT_EQ(repeating_tokens(tokens, 1), (std::set<int32_t>{1, 2, 3, 4}));
  EXPECT_EQ(repeating_tokens(tokens, 4), (std::set<int32_t>{}));
  EXPECT_EQ(repeating_tokens(tokens, 0), (std::set<int32_t>{}));
  EXPECT_EQ(repeating_tokens(std::vector<int32_t>{7, 7}, 2), (std::set<int32_t>{7}));
  EXPECT_EQ(repeating_tokens({}, 1), (std::set<int32_t>{}));
}

TEST(Sampler, LogprobIsOfTheUntouchedDistribution) {
  const Choice choice = choose_token(logits, std::vector<int32_t>{1}, {.temperature = 0.1, .repetition_penalty = 9}, 0);
  EXPECT_EQ(choice.id, 3);
  EXPECT_NEAR(choice.logprob, std::log(softmax(logits)[3]), 1e-12);
}

TEST(Sampler, DrawsDependOnSeedPromptSampleAndStep) {
  const std::vector<int32_t> prompt = {1, 2}, other = {2, 1};
  const double draw = draw_of(1, prompt, 0, 5);
  EXPECT_EQ(draw, draw_of(1, prompt, 0, 5));
  EXPECT_NE(draw, draw_of(2, prompt, 0, 5));
  EXPECT_NE(draw, draw_of(1, other, 0, 5));
  EXPECT_NE(draw, draw_of(1, prompt, 1, 5));
  EXPECT_NE(draw, draw_of(1, prompt, 0, 6));
  double sum = 0;
  for (int step = 0; step < 10000; ++step) sum += draw_of(1, prompt, 0, step);
  EXPECT_NEAR(sum / 10000, 0.5, 0.02);
}

TEST(Sampler, WrongOptionsAreNamed) {
  const auto error = [](const Sampling& sampling) -> std::string {
    try {
      check(sampling);
    } catch (const ConfigError& caught) {
      return caught.what();
    }
    return "no error";
  };
  EXPECT_EQ(error({}), "no error");
  EXPECT_EQ(error({.top_p = 1.5}), "--top-p takes a number above 0, up to 1, not 1.5");
  EXPECT_EQ(error({.temperature = -1}), "--temperature takes a number from 0 (greedy) on, not -1");
  EXPECT_EQ(error({.max_new_tokens = 0}), "--max-new-tokens takes a whole number from 1 on, not 0");
  EXPECT_EQ(error({.no_repeat_ngram = -1}), "--no-repeat-ngram takes a whole number from 0 (off) on, not -1");
  EXPECT_THAT(error({.temperature = 1, .beams = 2}), ::testing::HasSubstr("--beam finds the likeliest text"));
  EXPECT_EQ(error({.beams = 2}), "no error");
}

}  // namespace
}  // namespace lmnet
