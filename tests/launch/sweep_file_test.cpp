#include "launch/sweep/sweep_file.h"

#include <gmock/gmock.h>

#include "model/graph/errors.h"

namespace lmnet::sweep {
namespace {

using ::testing::HasSubstr;

std::string error_of(const std::string& yaml) {
  try {
    parse_sweep(yaml, "sweeps/s.yaml");
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(SweepFile, reads_all_that_the_page_shows) {
  const SweepFile file = parse_sweep(
      "{name: widths, base: configs/x.yaml, grid: {model.topology: [1, 1-2-1, 1-4-4-1], run.seed: [1, 2]}, ranks: 2, "
      "jobs: 2}",
      "s.yaml");
  EXPECT_EQ(file.name, "widths");
  EXPECT_EQ(file.base, "configs/x.yaml");
  EXPECT_EQ(file.ranks, 2);
  EXPECT_EQ(file.jobs, 2);
  ASSERT_EQ(file.grid.size(), 2u);
  EXPECT_EQ(file.grid[0].key, "model.topology");
  EXPECT_EQ(file.grid[0].values.size(), 3u);
  EXPECT_EQ(file.grid[1].values[1].text, "2");
}

TEST(SweepFile, is_named_after_its_file) {
  EXPECT_EQ(parse_sweep("{base: x.yaml, seeds: 2}", "sweeps/topologies.yaml").name, "topologies");
}

TEST(SweepFile, takes_seeds_as_a_list_or_their_number) {
  EXPECT_EQ(parse_sweep("{base: x.yaml, seeds: 3}", "s.yaml").seeds, (std::vector<int64_t>{1, 2, 3}));
  EXPECT_EQ(parse_sweep("{base: x.yaml, seeds: [5, 0]}", "s.yaml").seeds, (std::vector<int64_t>{5, 0}));
}

TEST(SweepFile, takes_preparations_by_name) {
  const SweepFile file = parse_sweep(R"(base: x.yaml
seeds: 2
prepare:
  backbone: {base: b.yaml, ranks: 4}
  edges: {as: run.resume, each: [model.topology], set: {train.clip: 2}}
)",
                                     "s.yaml");
  ASSERT_EQ(file.prepare.size(), 2u);
  EXPECT_EQ(file.prepare[0].name, "backbone");
  EXPECT_EQ(file.prepare[0].as, "model.backbone");
  EXPECT_EQ(file.prepare[0].ranks, 4);
  EXPECT_EQ(file.prepare[1].each, std::vector<std::string>{"model.topology"});
  EXPECT_EQ(file.prepare[1].set[0].value.where, "s.yaml:5");
}

TEST(SweepFile, names_what_is_wrong_with_line_and_way_out) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"base: x.yaml\ngird: {a.b: [1]}", "sweeps/s.yaml:2: unknown key gird, did you mean grid?"},
      {"base: x.yaml\nvalues: {a.b: [1]}", "unknown key values, a sweep has name, base, ranks"},
      {"seeds: 2", "base is missing"},
      {"base: x.yaml", "nothing varies in this sweep"},
      {"base: x.yaml\ngrid: {model.topology: 1-2-1}", "s.yaml:2: grid: model.topology: got \"1-2-1\", expected a list"},
      {"base: x.yaml\ngrid: {topology: [1]}", "\"topology\" is not the path of a key, write it like model.topology"},
      {"base: x.yaml\nset: {run.name: a}\nseeds: 1", "s.yaml:2: set: a sweep names its runs itself"},
      {"base: x.yaml\npairs: {a.b: [1, 2], c.d: [1]}", "c.d has 1 values, a.b has 2"},
      {"base: x.yaml\nseeds: 0", "expected a whole number above 0"},
      {"base: x.yaml\nseeds: 1\nranks: 0", "ranks: got 0, expected a whole number above 0"},
      {"base: x.yaml\nseeds: 1\nwhen: [{if: {a.b: 1}, set: {a.c: 1}}]", "unknown key when[0].if, did you mean"},
      {"base: x.yaml\nseeds: 1\nwhen: [{is: {a.b: 1}}]", "when[0].set is missing"},
      {"base: x.yaml\nseeds: 1\nprepare: {b: {}}", "it would be the same as a cell"},
      {"base: x.yaml\nseeds: 1\nprepare: {b: {base: y.yaml, as: model.topology}}",
       "expected model.backbone or run.resume"},
      {"base: x.yaml\nseeds: 1\nprepare: {../b: {base: y.yaml}}", "expected a folder's name"},
      {"base: x.yaml\nlist: [{name: a/b, c.d: 1}]", "list[0].name: got \"a/b\", expected a folder's name"},
      {"model: {topology: 1}", "this is a config, not a sweep"},
      {"base: [", "not valid YAML"},
  };
  for (const auto& [yaml, sentence] : cases) EXPECT_THAT(error_of(yaml), HasSubstr(sentence)) << yaml;
}

}  // namespace
}  // namespace lmnet::sweep
