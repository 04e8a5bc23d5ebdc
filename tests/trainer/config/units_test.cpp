#include "trainer/config/units.h"

#include <gmock/gmock.h>

#include <random>

#include "tests/trainer/config/helpers.h"

namespace lmnet {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::parse_error;
using ::testing::StartsWith;
using enum Span::Unit;

TEST(Units, EachHasItsScale) {
  const std::vector<std::pair<std::string, Span>> cases = {
      {"2000u", {2000, updates}}, {"5t", {5, tokens}},       {"1.1Kt", {1100, tokens}}, {"0.1Mt", {1e5, tokens}},
      {"0.5Gt", {5e8, tokens}},   {"0.5e", {0.5, epochs}},   {"3e", {3, epochs}},       {"1.5s", {1.5, seconds}},
      {"2m", {120, seconds}},     {"0.5h", {1800, seconds}}, {"0u", {0, updates}}};
  for (const auto& [text, span] : cases) EXPECT_EQ(config::read_span(text), span) << text;
}

TEST(Units, AnythingElseIsRefusedWithTheUnits) {
  for (const std::string text : {"", "5", "u", "-1u", "5 u", "u5", "5U", "5kt", "1.5u", "0.5t", "1e3u", "infu", "nanu",
                                 "5uu", "5d", "0x5u", "99999999999999999999999u"}) {
    EXPECT_FALSE(config::read_span(text)) << text;
    EXPECT_THAT(parse_error("train: {stages: [{trains: [edges], until: \"" + text + "\", lr: 1}]}"),
                AllOf(StartsWith("x.yaml:1: train.stages[0].until: got "),
                      HasSubstr("\"" + text + "\", expected a length with its unit u (updates), t, Kt, Mt, Gt")));
  }
}

TEST(Units, WrongCaseGetsAHint) {
  EXPECT_EQ(config::case_hint("20gt"), ", did you mean \"20Gt\"?");
  EXPECT_EQ(config::case_hint("2H"), ", did you mean \"2h\"?");
}

TEST(Units, KeysTakeOnlySomeUnits) {
  EXPECT_EQ(parse_error("checkpoint: {every: 1Gt}"),
            "x.yaml:1: checkpoint.every: got \"1Gt\", expected a length with its unit "
            "u (updates), such as 2000u (or none)");
  EXPECT_EQ(parse_error("log: {every: 10}"),
            "x.yaml:1: log.every: got 10, expected a length with its unit u (updates), such as 2000u");
  EXPECT_EQ(parse_error("run: {time_limit: 10u}"),
            "x.yaml:1: run.time_limit: got \"10u\", expected a length with its unit "
            "s, m, h (time), such as 300s (or none)");
  EXPECT_EQ(parse_error("train: {stages: [{trains: [edges], until: 2h, lr: 1}]}"),
            "x.yaml:1: train.stages[0].until: got \"2h\", expected a length with its unit u (updates), t, Kt, Mt, Gt "
            "(tokens) "
            "or e (epochs), such as 2000u");
  EXPECT_EQ(parse_error("evaluate: {every: 0u}"),
            "x.yaml:1: evaluate.every: got \"0u\", expected a length above 0 (or none)");
}

TEST(Units, TextIsShortAndReadsBack) {
  EXPECT_EQ(to_string({5e8, tokens}), "500Mt");
  EXPECT_EQ(to_string({1234567, tokens}), "1.234567Mt");
  EXPECT_EQ(to_string({300, seconds}), "5m");
  EXPECT_EQ(to_string({5400, seconds}), "90m");
  EXPECT_EQ(to_string({0, updates}), "0u");
  std::mt19937_64 random(1);
  for (int i = 0; i < 2000; ++i) {
    const auto unit = static_cast<Span::Unit>(random() % 4);
    const double whole = static_cast<double>(random() >> (11 + random() % 50));
    const Span span{unit == epochs || unit == seconds ? whole / 64 : whole, unit};
    EXPECT_EQ(config::read_span(to_string(span)), span) << to_string(span);
  }
}

TEST(Nearest, TakesTheSmallestEditDistance) {
  const std::vector<std::string> words = {"micro_batch", "global_batch", "stages", "clip"};
  EXPECT_EQ(nearest("micro_batc", words), "micro_batch");
  EXPECT_EQ(nearest("microbatch", words), "micro_batch");
  EXPECT_EQ(nearest("Stages", words), "stages");
  EXPECT_EQ(nearest("satges", words), "stages");
  EXPECT_EQ(nearest("clpi", words), "clip");
}

TEST(Nearest, GivesNothingWhenNoneIsNear) {
  const std::vector<std::string> words = {"clip", "u"};
  EXPECT_EQ(nearest("learning_rate", words), "");
  EXPECT_EQ(nearest("x", words), "");
  EXPECT_EQ(nearest("clip", {}), "");
}

}  // namespace
}  // namespace lmnet
