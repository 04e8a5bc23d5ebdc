#include "launch/sweep/check.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include "model/graph/errors.h"
#include "trainer/checkpoint/file_io.h"

namespace lmnet::sweep {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

/// A sweep in an empty working directory, so that what is written would be seen.
class CheckTest : public ::testing::Test {
 protected:
  CheckTest()
      : before_(fs::current_path()), work_(fs::temp_directory_path() / ("check_test-" + std::to_string(getpid()))) {
    fs::create_directories(work_);
    fs::current_path(work_);
    write_text("base.yaml", R"(run: {dir: out}
model:
  backbone: {model_type: qwen2, hidden_size: 8, intermediate_size: 8, num_hidden_layers: 1, num_attention_heads: 2,
    num_key_value_heads: 1, vocab_size: 258, tie_word_embeddings: true}
data: {tokenizer: bytes, sequence_length: 16, train: [{path: a.jsonl, format: c4}]}
train:
  global_batch: 8
  micro_batch: 2
  stages: [{name: one, trains: [vertices, embeddings], until: 10u, lr: 1e-3}]
)");
  }
  ~CheckTest() override {
    fs::current_path(before_);
    fs::remove_all(work_);
  }

  static std::vector<CheckedCell> check(const std::string& yaml, const std::vector<std::string>& overrides = {},
                                        CheckOf what = CheckOf::configs) {
    const SweepFile file = parse_sweep("base: base.yaml\nname: s\n" + yaml, "s.yaml");
    return check_cells(file, cells_of(file), overrides, what);
  }

  static std::string fault(const std::string& yaml, CheckOf what = CheckOf::configs) {
    try {
      check(yaml, {}, what);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "no error";
  }

 private:
  fs::path before_, work_;
};

TEST_F(CheckTest, gives_each_cell_its_folder_and_what_the_report_needs) {
  const auto cells = check("ranks: 2\ngrid: {model.topology: [1, 1-2-1]}");
  ASSERT_EQ(cells.size(), 2u);
  EXPECT_EQ(cells[1].config.run.folder(), fs::path("out/s/topology=1-2-1"));
  EXPECT_EQ(cells[1].config.model.topology, "1-2-1");
  EXPECT_EQ(cells[1].facts.tokens_per_update, 128);
  ASSERT_EQ(cells[1].facts.stages.size(), 1u);
  EXPECT_EQ(cells[1].facts.stages[0].updates, 10);
  EXPECT_GT(cells[1].facts.stages[0].flops_per_token, cells[0].facts.stages[0].flops_per_token);
  EXPECT_GT(cells[1].facts.parameters, cells[0].facts.parameters);
  EXPECT_FALSE(fs::exists("out"));
}

TEST_F(CheckTest, finds_data_that_is_not_there_before_a_start) {
  const std::string yaml = "grid: {model.topology: [1, 1-2-1]}";
  EXPECT_EQ(fault(yaml), "no error");
  EXPECT_THAT(fault(yaml, CheckOf::starts), AllOf(HasSubstr("2 of 2 runs cannot be made; nothing was started"),
                                                  HasSubstr("a.jsonl"), HasSubstr("in topology=1 topology=1-2-1")));
  write_text("a.jsonl", "{\"text\": \"a\"}\n");
  EXPECT_EQ(fault(yaml, CheckOf::starts), "no error");
}

TEST_F(CheckTest, lists_all_faults_with_the_line_of_the_sweep_and_the_cells_and_writes_nothing) {
  const std::string text = fault(R"(ranks: 3
seeds: 2
grid:
  model.topology: [1, 1-x-1]
  parallel.vertex: [1, 2]
)");
  EXPECT_THAT(text, HasSubstr("s.yaml: 8 of 8 runs cannot be made; nothing was started"));
  EXPECT_THAT(text, HasSubstr("s.yaml:6: model.topology"));
  EXPECT_THAT(text, HasSubstr("in topology=1-x-1"));
  EXPECT_THAT(text, HasSubstr("parallel.vertex 2 does not divide the 3 ranks"));
  EXPECT_THAT(text, HasSubstr("train.global_batch 8 is no multiple"));
  EXPECT_FALSE(fs::exists("out"));
}

TEST_F(CheckTest, names_a_wrong_key_where_it_stands_in_the_sweep) {
  EXPECT_THAT(fault("seeds: 2\nset: {train.clipp: 1}"),
              HasSubstr("s.yaml:4: unknown key train.clipp, did you mean train.clip?"));
  EXPECT_THAT(
      fault("grid:\n  train.clip: [1, many]"),
      AllOf(HasSubstr("1 of 2 runs"), HasSubstr("s.yaml:4: train.clip: got \"many\""), HasSubstr("in clip=many")));
}

TEST_F(CheckTest, takes_the_shape_of_a_backbone_that_is_still_to_be_trained) {
  const auto cells = check(
      "prepare: {backbone: {base: base.yaml, set: {model.backbone.hidden_size: 16}}}\n"
      "grid: {model.topology: [1-2-1]}\nset: {'train.stages[0].trains': [edges]}");
  ASSERT_EQ(cells.size(), 2u);
  EXPECT_EQ(cells[1].config.model.backbone, "out/s/backbone");
  EXPECT_GT(cells[1].facts.parameters, cells[0].facts.parameters);
  EXPECT_THAT(fault("prepare: {backbone: {base: base.yaml, set: {model.topology: 1-1}}}\nseeds: 1"),
              HasSubstr("backbone is no backbone: that has topology 1"));
}

TEST_F(CheckTest, lets_a_first_stage_be_shared_by_cells_that_go_on_from_it) {
  const std::string prepare =
      "prepare: {first: {as: run.resume, each: [model.topology], set: {log.every: 1u}}}\ngrid: {model.topology: "
      "[1-1]}\n";
  const auto cells =
      check(prepare + "list: [{name: long, 'train.stages[1]': {name: two, trains: [edges], until: 5u, lr: 1}}]");
  EXPECT_EQ(cells[1].config.run.resume, "out/s/first,topology=1-1");
  EXPECT_THAT(fault(prepare + "list: [{train.clip: 3}]"), HasSubstr("train.clip: 1 → 3"));
}

TEST_F(CheckTest, refuses_a_folder_of_another_sweep) {
  fs::create_directories("out/s/seed=1");
  const auto cells = check("seeds: 1");
  write_text("out/s/seed=1/config.yaml", to_yaml(cells[0].config));
  EXPECT_NO_THROW(check("seeds: 1"));
  EXPECT_THAT(fault("seeds: 1\nset: {train.clip: 5}"), HasSubstr("train.clip: 1 → 5"));
}

TEST_F(CheckTest, takes_overrides_for_all_cells) {
  EXPECT_EQ(check("seeds: 1", {"run.dir=elsewhere"})[0].config.run.folder(), fs::path("elsewhere/s/seed=1"));
}

}  // namespace
}  // namespace lmnet::sweep
