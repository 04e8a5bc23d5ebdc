#include "trainer/checkpoint/checkpoint_folder.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include "tests/trainer/checkpoint_helpers.h"

namespace lmnet {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace fs = std::filesystem;

constexpr const char* config = "run: {name: test}\n";
constexpr const char* state = "{\"streams\": []}\n";

/// Two ranks write the checkpoint of an update, one after the other; its tensors hold `value`.
CheckpointWriter write_parts(const fs::path& dir, int64_t update, double value) {
  CheckpointWriter first(dir, update, 0), second(dir, update, 1);
  first.prepare();
  first.add("vertices", "vertices.0.norm", at::full({4}, value, at::kBFloat16));
  first.add("optimizer", "edges.1.0-1.fc@exp_avg", at::full({3}, value, at::kFloat));
  second.add("edges", "edges.1.0-1.fc", at::full({2, 3}, value));
  first.hand_in();
  second.hand_in();
  return first;
}

Manifest two_ranks() {
  Manifest manifest;
  manifest.data_parallel = 2;
  manifest.topology = "1-1";
  return manifest;
}

fs::path write_checkpoint(const fs::path& dir, int64_t update, double value = 1) {
  return write_parts(dir, update, value).finish(two_ranks(), config, state);
}

std::vector<std::string> names(const std::vector<fs::path>& paths) {
  std::vector<std::string> result;
  for (const auto& path : paths) {
    result.push_back(path.filename().string());
  }
  return result;
}

std::vector<std::string> names_in(const fs::path& dir) {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(dir)) {
    paths.push_back(entry.path());
  }
  auto result = names(paths);
  std::ranges::sort(result);
  return result;
}

TEST(CheckpointFolder, is_named_after_its_update) {
  EXPECT_EQ(folder_name(1000), "step-000001000");
  EXPECT_EQ(folder_name(12345678901), "step-12345678901");
}

TEST(CheckpointFolder, gives_back_what_all_ranks_wrote) {
  const TemporaryFolder dir;
  const auto folder = write_checkpoint(dir / "checkpoints", 7, 2.5);
  EXPECT_EQ(folder, dir / "checkpoints/step-000000007");
  EXPECT_THAT(names_in(folder), ElementsAre("config.yaml", "edges.00001.h5", "manifest.json", "optimizer.00000.h5",
                                            "state.json", "vertices.00000.h5"));
  EXPECT_THAT(names_in(dir / "checkpoints"), ElementsAre("step-000000007"));
  const CheckpointReader reader(folder);
  EXPECT_EQ(reader.manifest().update, 7);
  EXPECT_EQ(reader.manifest().topology, "1-1");
  EXPECT_EQ(reader.config_yaml(), config);
  EXPECT_EQ(reader.state_json(), state);
  EXPECT_TRUE(at::equal(reader.read("edges.1.0-1.fc"), at::full({2, 3}, 2.5)));
  auto norm = at::empty({4});
  reader.read_into("vertices.0.norm", norm);
  EXPECT_TRUE(at::equal(norm, at::full({4}, 2.5)));
  ASSERT_EQ(reader.tensors().size(), 3u);
  EXPECT_EQ(reader.tensors()[1].name, "edges.1.0-1.fc@exp_avg");
  EXPECT_EQ(reader.tensors()[2].dtype, at::kBFloat16);
  EXPECT_THAT(error_of([&] { reader.read("edges.9"); }), AllOf(HasSubstr(folder.string()), HasSubstr("edges.9")));
}

TEST(CheckpointFolder, is_not_finished_when_a_rank_handed_in_nothing) {
  const TemporaryFolder dir;
  CheckpointWriter first(dir.path(), 1, 0);
  first.prepare();
  first.hand_in();
  EXPECT_THAT(error_of([&] { first.finish(two_ranks(), config, state); }), HasSubstr("rank 1"));
  EXPECT_THAT(list_checkpoints(dir.path()), IsEmpty());
}

TEST(CheckpointFolder, is_not_finished_when_two_ranks_wrote_the_same_tensor) {
  const TemporaryFolder dir;
  auto first = write_parts(dir.path(), 1, 1);
  CheckpointWriter second(dir.path(), 1, 1);
  second.add("edges", "vertices.0.norm", at::ones({4}));
  second.hand_in();
  EXPECT_THAT(error_of([&] { first.finish(two_ranks(), config, state); }), HasSubstr("vertices.0.norm"));
}

TEST(CheckpointFolder, killed_before_the_end_is_never_listed_and_is_cleaned_away) {
  const TemporaryFolder dir;
  write_checkpoint(dir.path(), 1);
  write_parts(dir.path(), 2, 1);
  EXPECT_THAT(names_in(dir.path()), ElementsAre(".step-000000002.tmp", "step-000000001"));
  EXPECT_THAT(names(list_checkpoints(dir.path())), ElementsAre("step-000000001"));
  EXPECT_EQ(choose_checkpoint(dir.path()).checkpoint, dir / "step-000000001");
  clean_partial(dir.path());
  EXPECT_THAT(names_in(dir.path()), ElementsAre("step-000000001"));
}

TEST(CheckpointFolder, is_written_over_the_leftovers_of_a_killed_attempt) {
  const TemporaryFolder dir;
  write_parts(dir.path(), 2, 1).add("adapters", "stale", at::ones({1}));
  const auto folder = write_checkpoint(dir.path(), 2, 3);
  EXPECT_FALSE(fs::exists(folder / "adapters.00000.h5"));
  EXPECT_TRUE(at::equal(CheckpointReader(folder).read("edges.1.0-1.fc"), at::full({2, 3}, 3)));
}

TEST(CheckpointFolder, replaces_one_of_the_same_update) {
  const TemporaryFolder dir;
  write_checkpoint(dir.path(), 5, 1);
  const auto folder = write_checkpoint(dir.path(), 5, 2);
  EXPECT_THAT(names_in(dir.path()), ElementsAre("step-000000005"));
  EXPECT_TRUE(at::equal(CheckpointReader(folder).read("edges.1.0-1.fc"), at::full({2, 3}, 2)));
}

TEST(CheckpointFolder, comes_back_when_the_replacement_was_killed) {
  const TemporaryFolder dir;
  const auto folder = write_checkpoint(dir.path(), 5);
  fs::rename(folder, dir / ".step-000000005.old");
  EXPECT_THAT(list_checkpoints(dir.path()), IsEmpty());
  EXPECT_EQ(choose_checkpoint(dir.path()).checkpoint, folder);
  EXPECT_THAT(names_in(dir.path()), ElementsAre("step-000000005"));
  fs::rename(folder, dir / ".step-000000005.old");
  clean_partial(dir.path());
  EXPECT_THAT(names_in(dir.path()), ElementsAre("step-000000005"));
}

TEST(CheckpointFolder, cleaning_leaves_everything_else_alone) {
  const TemporaryFolder dir;
  for (const std::string name : {"notes.tmp", ".notes.tmp", ".step-5.tmp", "step-000000001.tmp"}) {
    fs::create_directory(dir / name);
  }
  clean_partial(dir.path());
  EXPECT_EQ(names_in(dir.path()).size(), 4u);
}

TEST(CheckpointList, is_newest_first_and_knows_only_complete_checkpoints) {
  const TemporaryFolder dir;
  for (const int64_t update : {20, 3, 1000000000, 100}) {
    write_checkpoint(dir.path(), update);
  }
  fs::create_directory(dir / "step-000000050");
  fs::create_directory(dir / "step-x");
  fs::create_directory(dir / "notes");
  EXPECT_THAT(names(list_checkpoints(dir.path())),
              ElementsAre("step-1000000000", "step-000000100", "step-000000020", "step-000000003"));
  EXPECT_THAT(list_checkpoints(dir / "nowhere"), IsEmpty());
}

TEST(CheckpointKeep, removes_all_but_the_newest) {
  const TemporaryFolder dir;
  for (int64_t update = 1; update <= 5; ++update) {
    write_checkpoint(dir.path(), update);
  }
  fs::create_directory(dir / "step-000000000");
  write_parts(dir.path(), 6, 1);
  keep_newest(dir.path(), 2);
  EXPECT_THAT(names_in(dir.path()),
              ElementsAre(".step-000000006.tmp", "step-000000000", "step-000000004", "step-000000005"));
}

TEST(CheckpointKeep, spares_every_nth_update) {
  const TemporaryFolder dir;
  for (int64_t update = 1; update <= 7; ++update) {
    write_checkpoint(dir.path(), update);
  }
  keep_newest(dir.path(), 1, 3);
  EXPECT_THAT(names(list_checkpoints(dir.path())), ElementsAre("step-000000007", "step-000000006", "step-000000003"));
}

TEST(CheckpointKeep, never_removes_the_last) {
  const TemporaryFolder dir;
  write_checkpoint(dir.path(), 1);
  keep_newest(dir.path(), 0);
  EXPECT_EQ(list_checkpoints(dir.path()).size(), 1u);
}

TEST(CheckpointOpen, names_the_file_that_is_short_missing_or_damaged) {
  const TemporaryFolder dir;
  const auto folder = write_checkpoint(dir.path(), 1);
  const auto error = [&](bool verify) { return error_of([&] { open_checkpoint(folder, verify); }); };
  damage(folder / "edges.00001.h5", 8);
  EXPECT_NO_THROW(open_checkpoint(folder));
  EXPECT_THAT(error(true), AllOf(HasSubstr("step-000000001/edges.00001.h5"), HasSubstr("checksum")));
  cut_off(folder / "edges.00001.h5", 24);
  EXPECT_THAT(error(false), HasSubstr("step-000000001/edges.00001.h5: 24 bytes missing"));
  fs::remove(folder / "edges.00001.h5");
  EXPECT_THAT(error(false), AllOf(HasSubstr("edges.00001.h5"), HasSubstr("No such file")));
  fs::remove(folder / "manifest.json");
  EXPECT_THAT(error(false), HasSubstr("manifest.json is missing"));
  EXPECT_THAT(error_of([&] { open_checkpoint(dir / "step-000000009"); }), HasSubstr("no checkpoint"));
}

TEST(CheckpointOpen, reader_finds_damaged_texts) {
  const TemporaryFolder dir;
  const auto folder = write_checkpoint(dir.path(), 1);
  damage(folder / "state.json", 3);
  const CheckpointReader reader(folder);
  EXPECT_EQ(reader.config_yaml(), config);
  EXPECT_THAT(error_of([&] { reader.state_json(); }), HasSubstr("state.json"));
}

TEST(CheckpointChoice, is_empty_when_there_is_none) {
  const TemporaryFolder dir;
  EXPECT_FALSE(choose_checkpoint(dir.path()).checkpoint);
  EXPECT_FALSE(choose_checkpoint(dir / "nowhere").checkpoint);
}

TEST(CheckpointChoice, skips_damaged_newer_ones_and_names_them) {
  const TemporaryFolder dir;
  for (int64_t update = 1; update <= 5; ++update) {
    write_checkpoint(dir.path(), update);
  }
  damage(dir / "step-000000003/vertices.00000.h5", 8);
  cut_off(dir / "step-000000004/manifest.json", 5);
  fs::remove(dir / "step-000000005/manifest.json");
  const auto choice = choose_checkpoint(dir.path());
  EXPECT_EQ(choice.checkpoint, dir / "step-000000002");
  EXPECT_THAT(choice.damaged, ElementsAre(HasSubstr("step-000000005"), HasSubstr("step-000000004/manifest.json"),
                                          HasSubstr("step-000000003/vertices.00000.h5")));
}

TEST(CheckpointChoice, refuses_to_begin_anew_when_all_are_damaged) {
  const TemporaryFolder dir;
  for (int64_t update = 1; update <= 2; ++update) {
    cut_off(write_checkpoint(dir.path(), update) / "edges.00001.h5", 8);
  }
  EXPECT_THAT(error_of([&] { choose_checkpoint(dir.path()); }),
              AllOf(HasSubstr(dir.path().string()), HasSubstr("step-000000002/edges.00001.h5: 8 bytes missing"),
                    HasSubstr("step-000000001/edges.00001.h5")));
}

TEST(CheckpointFolder, names_the_folder_that_cannot_be_written) {
  if (::geteuid() == 0) {
    GTEST_SKIP() << "root may write everywhere";
  }
  const TemporaryFolder dir;
  fs::create_directory(dir / "locked");
  fs::permissions(dir / "locked", fs::perms::owner_read | fs::perms::owner_exec);
  EXPECT_THAT(error_of([&] { CheckpointWriter(dir / "locked", 1, 0).prepare(); }),
              AllOf(HasSubstr("locked"), HasSubstr("Permission denied"), HasSubstr("run.dir")));
}

TEST(CheckpointFolder, names_a_file_in_the_place_of_the_folder) {
  const TemporaryFolder dir;
  std::ofstream(dir / "checkpoints") << "a file";
  EXPECT_THAT(error_of([&] { CheckpointWriter(dir / "checkpoints", 1, 0).prepare(); }),
              AllOf(HasSubstr("checkpoints"), HasSubstr("Not a directory")));
}

}  // namespace
}  // namespace lmnet
