#include "trainer/update_guard.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

namespace lmnet {
namespace {

using Verdict = UpdateGuard::Verdict;
using ::testing::HasSubstr;
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

TrainConfig rules(const std::string& on_nan, const std::string& on_spike) {
  TrainConfig config;
  config.on_nan = on_nan, config.on_spike = on_spike;
  config.spike = {8, 3};
  config.skip_limit = 2;
  return config;
}

/// Updates of the usual kind: losses 1.9 and 2.1, norms 0.9 and 1.1.
void live(UpdateGuard& guard, int updates) {
  for (int i = 0; i < updates; ++i)
    ASSERT_EQ(guard.judge(i % 2 ? 2.1 : 1.9, i % 2 ? 1.1 : 0.9), Verdict::make) << guard.reason();
}

TEST(UpdateGuard, stops_at_what_is_not_finite_unless_told_to_skip) {
  TrainConfig standard;
  UpdateGuard guard(standard);
  EXPECT_EQ(guard.judge(kNan, 1), Verdict::stop);
  EXPECT_THAT(guard.reason(), HasSubstr("loss nan and gradient norm 1 are not finite"));
  EXPECT_EQ(guard.judge(1, INFINITY), Verdict::stop);
  const TrainConfig skipping = rules("skip", "none");
  UpdateGuard other(skipping);
  EXPECT_EQ(other.judge(kNan, 1), Verdict::skip);
  EXPECT_EQ(other.judge(2, 1), Verdict::make);
  EXPECT_EQ(other.skipped(), 1);
}

TEST(UpdateGuard, skips_no_more_in_a_row_than_the_limit) {
  const TrainConfig config = rules("skip", "none");
  UpdateGuard guard(config);
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(guard.judge(kNan, 1), Verdict::skip);
    EXPECT_EQ(guard.judge(kNan, 1), Verdict::skip);
    EXPECT_EQ(guard.judge(2, 1), Verdict::make);
  }
  EXPECT_EQ(guard.skipped(), 6);
  guard.judge(kNan, 1);
  guard.judge(kNan, 1);
  EXPECT_EQ(guard.judge(kNan, 1), Verdict::stop);
  EXPECT_THAT(guard.reason(), HasSubstr("the 3. update in a row"));
}

TEST(UpdateGuard, knows_a_spike_of_loss_or_norm_by_what_was_usual) {
  for (const char* rule : {"skip", "stop"}) {
    const TrainConfig config = rules("stop", rule);
    UpdateGuard guard(config);
    live(guard, 8);
    EXPECT_EQ(guard.judge(2.2, 1.2), Verdict::make) << guard.reason();
    EXPECT_EQ(guard.judge(2.6, 1), rule == std::string("skip") ? Verdict::skip : Verdict::stop);
    EXPECT_THAT(guard.reason(), HasSubstr("loss 2.6 lies"));
    UpdateGuard of_norm(config);
    live(of_norm, 8);
    EXPECT_NE(of_norm.judge(2, 40), Verdict::make);
    EXPECT_THAT(of_norm.reason(), HasSubstr("gradient norm 40 lies"));
  }
}

TEST(UpdateGuard, knows_none_before_half_of_its_window_and_none_below) {
  const TrainConfig config = rules("stop", "stop");
  UpdateGuard guard(config);
  live(guard, 3);
  EXPECT_EQ(guard.judge(50, 50), Verdict::make);
  UpdateGuard other(config);
  live(other, 8);
  EXPECT_EQ(other.judge(0.1, 0.01), Verdict::make);
}

TEST(UpdateGuard, gets_used_to_another_level) {
  TrainConfig config = rules("stop", "skip");
  config.skip_limit = 100;
  UpdateGuard guard(config);
  live(guard, 8);
  for (int i = 0; i < 8; ++i) guard.judge(i % 2 ? 5.1 : 4.9, 1);
  EXPECT_EQ(guard.judge(5, 1), Verdict::make) << guard.reason();
  EXPECT_LT(guard.skipped(), 4);
}

TEST(UpdateGuard, forgets_what_was_usual_when_a_stage_begins) {
  const TrainConfig config = rules("stop", "stop");
  UpdateGuard guard(config);
  live(guard, 8);
  guard.begin_stage();
  EXPECT_EQ(guard.judge(20, 20), Verdict::make);
}

TEST(UpdateGuard, decides_the_same_after_a_resume) {
  const TrainConfig config = rules("skip", "skip");
  UpdateGuard whole(config);
  for (int i = 0; i < 40; ++i) {
    UpdateGuard resumed(config);
    resumed.restore(nlohmann::json::parse(whole.state().dump()));
    const double loss = i % 7 == 6 ? kNan : 2 + std::sin(i) + (i % 11 == 10 ? 9 : 0);
    const Verdict expected = whole.judge(loss, 1.0 / (i + 1));
    EXPECT_EQ(resumed.judge(loss, 1.0 / (i + 1)), expected);
    EXPECT_EQ(resumed.state(), whole.state());
  }
  EXPECT_GT(whole.skipped(), 5);
}

}  // namespace
}  // namespace lmnet
