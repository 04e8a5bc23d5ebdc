#include "launch/sweep/report.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "launch/sweep/plot.h"

namespace lmnet::sweep {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

/// Two stages of 4 updates with 10 tokens, at 2 and 6 FLOP a token.
PlannedRun planned_run(const std::string& group, const std::string& seed) {
  PlannedRun run;
  run.name = group + ",seed=" + seed;
  run.group = group;
  run.labels = {{"topology", group}};
  run.seed = seed;
  run.facts = {1000, 600, 10, {{"edges", 4, 2}, {"all", 4, 6}}};
  return run;
}

std::string metrics(double offset) {
  std::string text;
  for (int update = 1; update <= 8; ++update) {
    text += fmt::format(R"({{"update":{},"loss":{},"tokens_per_s":{}}})", update, 10 - update + offset, 100 * update) +
            "\n";
    if (update % 4 == 0)
      text += fmt::format(R"({{"update":{},"validation_loss":{}}})", update, 8 - update + offset) + "\n";
  }
  return text;
}

FinishedRun finished(const std::string& group, const std::string& seed, double offset, const Point& before = {}) {
  return read_curve(planned_run(group, seed), metrics(offset), before);
}

TEST(Report, counts_tokens_and_compute_of_each_stage) {
  const FinishedRun run = finished("a", "1", 0);
  ASSERT_TRUE(run.validated);
  ASSERT_EQ(run.points.size(), 2u);
  EXPECT_EQ(run.points[0].tokens, 40);
  EXPECT_EQ(run.points[0].flop, 80);
  EXPECT_EQ(run.points[1].tokens, 80);
  EXPECT_EQ(run.points[1].flop, 80 + 240);
  EXPECT_EQ(cost_of(run.run.facts).flop, 320);
  EXPECT_EQ(run.tokens_per_s, 450);
}

TEST(Report, takes_losses_of_updates_where_none_were_validated) {
  const FinishedRun run = read_curve(planned_run("a", "1"), R"({"update":1,"loss":4}
{"update":2,"loss":2}
{"update":3,"loss":)",
                                     {});
  EXPECT_FALSE(run.validated);
  ASSERT_EQ(run.points.size(), 2u);  // the last line was cut off
  EXPECT_EQ(run.points[1].loss, 3);  // the mean of both
}

TEST(Report, averages_over_the_seeds_of_a_group) {
  const Report report = make_report("s", {finished("a", "1", 0), finished("a", "2", 0.2), finished("b", "1", 1)});
  ASSERT_EQ(report.groups.size(), 2u);
  EXPECT_EQ(report.groups[0].loss.count, 2u);
  EXPECT_NEAR(report.groups[0].loss.mean, 0.1, 1e-12);
  EXPECT_NEAR(report.groups[0].loss.spread, 0.141421, 1e-6);
  EXPECT_EQ(report.groups[1].loss.spread, 0);
}

TEST(Report, compares_at_the_tokens_and_the_compute_that_all_have) {
  FinishedRun shorter = finished("b", "1", 0);
  shorter.points.pop_back();
  const Report report = make_report("s", {finished("a", "1", 0), shorter});
  EXPECT_EQ(report.tokens, 40);
  EXPECT_EQ(report.flop, 80);
  EXPECT_EQ(report.groups[0].at_tokens.mean, 4);
  EXPECT_EQ(report.groups[0].loss.mean, 0);
}

TEST(Report, interpolates_but_guesses_nothing_beyond_a_curve) {
  const std::vector<Point> points = {{40, 80, 4}, {80, 320, 0}};
  EXPECT_EQ(loss_at(points, &Point::tokens, 60), 2);
  EXPECT_EQ(loss_at(points, &Point::flop, 140), 3);
  EXPECT_EQ(loss_at(points, &Point::tokens, 40), 4);
  EXPECT_FALSE(loss_at(points, &Point::tokens, 30));
  EXPECT_FALSE(loss_at(points, &Point::tokens, 90));
}

TEST(Report, charges_a_run_for_what_was_prepared_for_it) {
  const Report report = make_report("s", {finished("alone", "1", 0), finished("on", "1", 0, {100, 1000, 0})});
  EXPECT_EQ(report.groups[1].tokens, 180);
  EXPECT_EQ(report.groups[1].flop, 1320);
  EXPECT_EQ(report.flop, 320);
  EXPECT_EQ(report.groups[1].at_flop.count, 0u);  // it had not begun by then
  EXPECT_THAT(to_text(report), HasSubstr("  -  "));
}

TEST(Report, is_a_table_for_people_and_one_for_programs) {
  Report report = make_report("s", {finished("1-2-1", "1", 0), finished("1-2-1", "2", 0.2)});
  report.cells = 3;
  report.done = 2;
  report.missing = {"1-3-1,seed=1: failed (code 3) · data/x: no such file"};
  const std::string text = to_text(report);
  EXPECT_THAT(text, HasSubstr("sweep s · 2 of 3 runs done"));
  EXPECT_THAT(text, HasSubstr("0.1000 ± 0.1414"));
  EXPECT_THAT(text, HasSubstr("not done: 1-3-1,seed=1: failed (code 3)"));
  EXPECT_THAT(to_csv(report),
              HasSubstr("network,topology,seeds,parameters,trainable,tokens,flop,tokens_per_s,loss,loss_spread"));
  EXPECT_THAT(to_csv(report), HasSubstr("\n1-2-1,1-2-1,2,1000,600,80,320,450,0.1,0.141421356,"));
}

TEST(Report, is_a_page_that_needs_no_other_file) {
  const std::string page = to_html(make_report("a<b", {finished("1-2-1", "1", 0), finished("1-2-1", "2", 0.2)}));
  EXPECT_THAT(page, HasSubstr("<title>sweep a&lt;b</title>"));
  EXPECT_THAT(page, HasSubstr("<path class=\"mean\""));
  for (const char* outside : {"http://", "https://", "<script", "<link", "src=", "url(", "nan", "inf\""})
    EXPECT_THAT(page, Not(HasSubstr(outside)));
}

TEST(Report, of_nothing_is_empty_but_whole) {
  const Report report = make_report("s", {});
  EXPECT_THAT(to_text(report), HasSubstr("0 of 0 runs done"));
  EXPECT_THAT(to_html(report), HasSubstr("</html>"));
}

TEST(Plot, has_round_numbers_on_its_axes) {
  EXPECT_THAT(ticks(0, 10, 5), ElementsAre(0, 2, 4, 6, 8, 10));
  EXPECT_THAT(ticks(2.31, 2.52, 4), ElementsAre(testing::DoubleNear(2.4, 1e-9), testing::DoubleNear(2.5, 1e-9)));
  EXPECT_EQ(ticks(3, 3, 5).size(), 1u);
}

}  // namespace
}  // namespace lmnet::sweep
