#include "launch/sweep/cells.h"

#include <gmock/gmock.h>

#include "model/graph/errors.h"

namespace lmnet::sweep {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<Cell> cells(const std::string& yaml) {
  return cells_of(parse_sweep("base: x.yaml\nname: s\n" + yaml, "s.yaml"));
}

std::vector<std::string> names(const std::string& yaml) {
  std::vector<std::string> names;
  for (const Cell& cell : cells(yaml)) names.push_back(cell.name);
  return names;
}

std::vector<std::string> arguments(const Cell& cell) {
  std::vector<std::string> arguments;
  for (const Setting& setting : cell.settings) arguments.push_back(argument_of(setting));
  return arguments;
}

std::string error_of(const std::string& yaml) {
  try {
    cells(yaml);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Cells, of_a_grid_are_all_combinations_the_first_key_slowest) {
  EXPECT_THAT(names("grid: {model.topology: [1, 1-2-1], train.clip: [0, 1]}"),
              ElementsAre("topology=1,clip=0", "topology=1,clip=1", "topology=1-2-1,clip=0", "topology=1-2-1,clip=1"));
}

TEST(Cells, of_one_group_differ_in_their_seed) {
  const std::vector<Cell> all = cells("seeds: 2\ngrid: {model.topology: [1, 1-2-1]}");
  EXPECT_THAT(names("seeds: 2\ngrid: {model.topology: [1, 1-2-1]}"),
              ElementsAre("topology=1,seed=1", "topology=1-2-1,seed=1", "topology=1,seed=2", "topology=1-2-1,seed=2"));
  EXPECT_EQ(all[1].group, "topology=1-2-1");
  EXPECT_EQ(all[3].group, "topology=1-2-1");
  EXPECT_EQ(all[3].seed, "2");
  EXPECT_THAT(arguments(all[3]), ElementsAre("run.seed=2", "model.topology=1-2-1"));
  EXPECT_EQ(cells("grid: {run.seed: [3, 4], model.topology: [1]}")[1].name, "topology=1,seed=4");
  EXPECT_EQ(cells("seeds: [7]")[0].group, "s");
}

TEST(Cells, of_pairs_go_together_and_are_named_by_what_tells_them_apart) {
  EXPECT_THAT(names("pairs: {model.topology: [1, 1-2-1], parallel.vertex: [1, 2]}"),
              ElementsAre("topology=1", "topology=1-2-1"));
  EXPECT_THAT(names("pairs: {model.topology: [1-2-1, 1-2-1], parallel.vertex: [1, 2]}"),
              ElementsAre("topology=1-2-1,vertex=1", "topology=1-2-1,vertex=2"));
  EXPECT_THAT(arguments(cells("pairs: {model.topology: [1, 1-2-1], parallel.vertex: [1, 2]}")[1]),
              ElementsAre("model.topology=1-2-1", "parallel.vertex=2"));
}

TEST(Cells, of_a_list_have_the_names_given_or_those_of_their_keys) {
  EXPECT_THAT(names("list: [{name: deep, model.topology: 1-1-1-1}, {model.topology: 1-3-1, train.clip: 2}]"),
              ElementsAre("deep", "topology=1-3-1,clip=2"));
}

TEST(Cells, take_first_what_is_set_for_all) {
  const std::vector<Cell> all = cells("set: {log.every: 5u}\ngrid: {train.clip: [1, 2]}");
  EXPECT_THAT(arguments(all[1]), ElementsAre("log.every=5u", "train.clip=2"));
}

TEST(Cells, get_what_a_condition_on_their_keys_sets) {
  const std::vector<Cell> all = cells(R"(grid: {model.topology: [1, 1-2-1, 1-4-1]}
when:
  - {is: {model.topology: [1-2-1, 1-4-1]}, set: {parallel.vertex: 2}}
  - {is: {parallel.vertex: 2, model.topology: 1-4-1}, set: {train.micro_batch: 4}}
)");
  EXPECT_THAT(arguments(all[0]), ElementsAre("model.topology=1"));
  EXPECT_THAT(arguments(all[1]), ElementsAre("model.topology=1-2-1", "parallel.vertex=2"));
  EXPECT_THAT(arguments(all[2]), ElementsAre("model.topology=1-4-1", "parallel.vertex=2", "train.micro_batch=4"));
}

TEST(Cells, that_skip_names_are_left_out) {
  EXPECT_THAT(
      names("grid: {model.topology: [1, 1-2-1], train.clip: [0, 1]}\nskip: [{model.topology: 1, train.clip: 0}]"),
      ElementsAre("topology=1,clip=1", "topology=1-2-1,clip=0", "topology=1-2-1,clip=1"));
}

TEST(Cells, share_what_is_prepared) {
  const std::vector<Cell> all = cells(
      "seeds: 2\nranks: 4\nprepare: {backbone: {base: b.yaml, ranks: 2, set: {train.clip: 3}}}\ngrid: {model.topology: "
      "[1-2-1]}");
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].name, "backbone");
  EXPECT_TRUE(all[0].prepares);
  EXPECT_EQ(all[0].base, "b.yaml");
  EXPECT_EQ(all[0].ranks, 2);
  EXPECT_THAT(arguments(all[0]), ElementsAre("train.clip=3"));
  EXPECT_EQ(all[2].ranks, 4);
  EXPECT_THAT(all[2].needs, ElementsAre(Cell::Need{"backbone", "model.backbone"}));
}

TEST(Cells, share_a_preparation_for_each_value_of_its_keys) {
  const std::vector<Cell> all = cells(R"(grid: {model.topology: [1-2-1, 1-3-1], train.clip: [1, 2]}
set: {log.every: 2u}
prepare: {edges: {as: run.resume, each: [model.topology], set: {train.clip: 9}}}
)");
  ASSERT_EQ(all.size(), 6u);
  EXPECT_EQ(all[0].name, "edges,topology=1-2-1");
  EXPECT_THAT(arguments(all[1]), ElementsAre("log.every=2u", "model.topology=1-3-1", "train.clip=9"));
  EXPECT_THAT(all[5].needs, ElementsAre(Cell::Need{"edges,topology=1-3-1", "run.resume"}));
}

TEST(Cells, with_a_backbone_of_their_own_need_no_prepared_one) {
  const std::vector<Cell> all = cells(R"(prepare: {backbone: {base: b.yaml}}
list: [{name: shared, model.topology: 1}, {name: own, model.backbone: /models/x}]
)");
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[1].needs.size(), 1u);
  EXPECT_TRUE(all[2].needs.empty());
}

TEST(Cells, that_cannot_be_told_apart_or_make_no_sense_are_refused) {
  EXPECT_THAT(error_of("grid: {model.topology: [1, 1]}"),
              HasSubstr("two runs of this sweep would be called topology=1"));
  EXPECT_THAT(error_of("grid: {train.clip: [1]}\npairs: {train.clip: [2]}"),
              HasSubstr("s.yaml:3: train.clip varies in two"));
  EXPECT_THAT(error_of("seeds: 2\ngrid: {run.seed: [1]}"), HasSubstr("run.seed varies in two places"));
  EXPECT_THAT(error_of("grid: {model.topology: [1, 1-2-1]}\nskip: [{model.topolgy: 1}]"),
              HasSubstr("s.yaml:4: no cell sets model.topolgy, did you mean \"model.topology\"?"));
  EXPECT_THAT(
      error_of("grid: {model.topology: [1, 1-2-1]}\nwhen: [{is: {model.topology: 1-3-1}, set: {train.clip: 1}}]"),
      HasSubstr("no cell has model.topology 1-3-1, they have 1, 1-2-1"));
  EXPECT_THAT(error_of("grid: {model.topology: [1]}\nskip: [{model.topology: 1}]"), HasSubstr("skip leaves no cell"));
  EXPECT_THAT(error_of("seeds: 1\nprepare: {edges: {as: run.resume, set: {train.clip: 1}, each: [model.topology]}}"),
              HasSubstr("prepare.edges.each: cell seed=1 does not set model.topology"));
  EXPECT_THAT(error_of("list: [{name: sweep, train.clip: 1}]"), HasSubstr("would be called sweep"));
}

TEST(Cells, have_labels_that_a_shell_and_a_file_system_take) {
  const auto label = [](const std::string& yaml) { return label_of(config::read_argument_value(yaml, "a", "k")); };
  EXPECT_EQ(label("1-2-1"), "1-2-1");
  EXPECT_EQ(label("1e-3"), "1e-3");
  EXPECT_EQ(label("/models/Qwen2.5-0.5B/"), "Qwen2.5-0.5B");
  EXPECT_EQ(label("{kind: linear}"), "kind-linear");
  EXPECT_EQ(label("[edges, vertices]"), "edges+vertices");
  EXPECT_EQ(label("\"a b; rm -rf $x\""), "abrm-rfx");
  EXPECT_EQ(label("\"\""), "none");
  const std::string a = label(std::string(300, 'a')), b = label(std::string(299, 'a') + "b");
  EXPECT_LE(a.size(), 48u);
  EXPECT_NE(a, b);
}

TEST(Cells, have_short_keys_as_long_as_they_are_different) {
  EXPECT_THAT(
      short_keys({"model.topology", "train.stages[0].lr", "train.stages[1].lr", "model.edge", "model.input.edge"}),
      ElementsAre("topology", "stages0.lr", "stages1.lr", "model.edge", "input.edge"));
}

TEST(Cells, hand_values_on_as_arguments_that_are_read_back) {
  for (const std::string value : {"1", "'1'", "[a, b]", "{kind: linear}", "'*.gz'", "'a: b'", "1e-3", "'#x'"}) {
    const Setting setting{"k.l", config::read_file_text("k: " + value, "f").items[0]};
    const std::string argument = argument_of(setting);
    const Node back = config::read_argument_value(argument.substr(4), "a", "k.l");
    EXPECT_EQ(config::to_flow_text(back), config::to_flow_text(setting.value)) << value;
  }
}

}  // namespace
}  // namespace lmnet::sweep
