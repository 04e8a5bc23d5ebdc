#include "trainer/checkpoint/checkpoint_folder.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include "tests/trainer/checkpoint/helpers.h"
#include "trainer/checkpoint/checkpoint_reader.h"
#include "trainer/checkpoint/checkpoint_writer.h"
#include "trainer/checkpoint/crc32c.h"

namespace lmnet {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace fs = std::filesystem;

const std::string config = "run: {name: test}\n", state = "{\"streams\": []}\n";
const std::map<std::string, std::string> texts = {{"config.yaml", config}, {"state.json", state}};

/// Two ranks write the checkpoint of an update, one after the other; its tensors hold `value`.
CheckpointWriter write_parts(const fs::path& dir, int64_t update, double value) {
  CheckpointWriter first(dir / folder_name(update), 0), second(dir / folder_name(update), 1);
  first.prepare();
  first.add("vertices", "vertices.0.norm", at::full({4}, value, at::kBFloat16));
  first.add("optimizer", "edges.1.0-1.fc@exp_avg", at::full({3}, value, at::kFloat));
  second.add("edges", "edges.1.0-1.fc", at::full({2, 3}, value));
  first.hand_in();
  second.hand_in();
  return first;
}

Manifest two_ranks(int64_t update = 1) {
  Manifest manifest;
  manifest.update = update;
  manifest.data_parallel = 2;
  manifest.topology = "1-1";
  return manifest;
}

fs::path write_checkpoint(const fs::path& dir, int64_t update, double value = 1) {
  CheckpointWriter writer = write_parts(dir, update, value);
  writer.finish(two_ranks(update), texts);
  return writer.folder();
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
  EXPECT_TRUE(at::equal(reader.read("vertices.0.norm"), at::full({4}, 2.5, at::kBFloat16)));
  EXPECT_EQ(reader.manifest().tensors.size(), 3u);
  EXPECT_TRUE(reader.has("edges.1.0-1.fc@exp_avg"));
  EXPECT_EQ(reader.manifest().tensors.at("vertices.0.norm").dtype, at::kBFloat16);
  EXPECT_THAT(error_of([&] { reader.read("edges.9"); }), AllOf(HasSubstr(folder.string()), HasSubstr("edges.9")));
}

TEST(CheckpointFolder, is_not_finished_when_a_rank_handed_in_nothing) {
  const TemporaryFolder dir;
  CheckpointWriter first(dir / folder_name(1), 0);
  first.prepare();
  first.hand_in();
  EXPECT_THAT(error_of([&] { first.finish(two_ranks(), texts); }), HasSubstr("rank 1"));
  EXPECT_THAT(list_checkpoints(dir.path()), IsEmpty());
}

TEST(CheckpointFolder, is_not_finished_when_two_ranks_wrote_the_same_tensor) {
  const TemporaryFolder dir;
  auto first = write_parts(dir.path(), 1, 1);
  CheckpointWriter second(dir / folder_name(1), 1);
  second.add("edges", "vertices.0.norm", at::ones({4}, at::kBFloat16));
  second.hand_in();
  EXPECT_THAT(error_of([&] { first.finish(two_ranks(), texts); }), HasSubstr("vertices.0.norm"));
}

TEST(CheckpointFolder, is_not_finished_when_a_piece_of_a_tensor_is_missing) {
  const TemporaryFolder dir;
  const auto values = at::arange(8, at::kFloat);
  for (const int64_t second_begin : {3, 4, 5}) {
    CheckpointWriter first(dir / folder_name(1), 0), second(dir / folder_name(1), 1);
    first.prepare();
    const auto add = [&](CheckpointWriter& writer, int64_t begin, int64_t length) {
      const auto piece = values.narrow(0, begin, length);
      const std::span bytes(static_cast<const std::byte*>(piece.const_data_ptr()), piece.nbytes());
      writer.add("optimizer", {"t@exp_avg", at::kFloat, {2, 4}, begin, length, crc32c(bytes)}, bytes);
    };
    add(first, 0, 4);
    add(second, second_begin, 8 - second_begin);
    first.hand_in();
    second.hand_in();
    if (second_begin == 4) {
      first.finish(two_ranks(), texts);
      const CheckpointReader reader(first.folder());
      EXPECT_TRUE(at::equal(reader.read("t@exp_avg"), values.view({2, 4})));
      EXPECT_TRUE(at::equal(reader.read("t@exp_avg", 3, 6), values.narrow(0, 3, 3)));
    } else {
      EXPECT_THAT(error_of([&] { first.finish(two_ranks(), texts); }), HasSubstr("t@exp_avg"));
    }
  }
}

TEST(CheckpointFolder, is_read_again_after_it_was_written) {
  const TemporaryFolder dir;
  CheckpointWriter writer = write_parts(dir.path(), 1, 1);
  writer.finish(two_ranks(), texts);
  EXPECT_NO_THROW(writer.check());
  damage(writer.folder() / "vertices.00000.h5", 8);
  EXPECT_THAT(error_of([&] { writer.check(); }), HasSubstr("vertices.00000.h5"));
}

TEST(CheckpointFolder, killed_before_the_end_is_never_listed_and_is_cleaned_away) {
  const TemporaryFolder dir;
  write_checkpoint(dir.path(), 1);
  write_parts(dir.path(), 2, 1);
  EXPECT_THAT(names_in(dir.path()), ElementsAre(".step-000000002.tmp", "step-000000001"));
  EXPECT_THAT(names(list_checkpoints(dir.path())), ElementsAre("step-000000001"));
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
  restore_replaced(dir.path());
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

TEST(CheckpointOpen, names_the_file_that_is_short_missing_or_damaged) {
  const TemporaryFolder dir;
  const auto folder = write_checkpoint(dir.path(), 1);
  const auto error = [&](bool verify) { return error_of([&] { open_checkpoint(folder, verify); }); };
  damage(folder / "edges.00001.h5", 8);
  damage(folder / "vertices.00000.h5", 8);
  EXPECT_NO_THROW(open_checkpoint(folder));
  EXPECT_THAT(error(true), AllOf(HasSubstr("step-000000001/edges.00001.h5"), HasSubstr("checksum"),
                                 HasSubstr("step-000000001/vertices.00000.h5")));
  cut_off(folder / "edges.00001.h5", 24);
  EXPECT_THAT(error(false), HasSubstr("step-000000001/edges.00001.h5: 24 bytes missing"));
  fs::remove(folder / "edges.00001.h5");
  EXPECT_THAT(error(false), AllOf(HasSubstr("edges.00001.h5"), HasSubstr("No such file")));
  fs::remove(folder / "manifest.json");
  EXPECT_THAT(error(false), HasSubstr("manifest.json is missing"));
  EXPECT_THAT(error_of([&] { open_checkpoint(dir / "step-000000009"); }), HasSubstr("no checkpoint"));
}

TEST(CheckpointOpen, reader_finds_the_file_of_another_checkpoint) {
  const TemporaryFolder dir;
  const auto folder = write_checkpoint(dir.path(), 1, 1), other = write_checkpoint(dir.path(), 2, 2);
  fs::copy_file(other / "edges.00001.h5", folder / "edges.00001.h5", fs::copy_options::overwrite_existing);
  EXPECT_NO_THROW(open_checkpoint(folder));  // of the same size
  const CheckpointReader reader(folder);
  EXPECT_NO_THROW(reader.read("vertices.0.norm"));
  EXPECT_THAT(error_of([&] { reader.read("edges.1.0-1.fc"); }),
              AllOf(HasSubstr("edges.00001.h5"), HasSubstr("manifest.json")));
  EXPECT_THAT(error_of([&] { open_checkpoint(folder, /*verify=*/true); }), HasSubstr("edges.00001.h5"));
}

TEST(CheckpointOpen, reader_finds_damaged_texts) {
  const TemporaryFolder dir;
  const auto folder = write_checkpoint(dir.path(), 1);
  damage(folder / "state.json", 3);
  const CheckpointReader reader(folder);
  EXPECT_EQ(reader.config_yaml(), config);
  EXPECT_THAT(error_of([&] { reader.state_json(); }), HasSubstr("state.json"));
}

TEST(CheckpointFolder, names_the_folder_that_cannot_be_written) {
  if (::geteuid() == 0) {
    GTEST_SKIP() << "root may write everywhere";
  }
  const TemporaryFolder dir;
  fs::create_directory(dir / "locked");
  fs::permissions(dir / "locked", fs::perms::owner_read | fs::perms::owner_exec);
  EXPECT_THAT(error_of([&] { CheckpointWriter(dir / "locked" / folder_name(1), 0).prepare(); }),
              AllOf(HasSubstr("locked"), HasSubstr("Permission denied"), HasSubstr("run.dir")));
}

TEST(CheckpointFolder, names_a_file_in_the_place_of_the_folder) {
  const TemporaryFolder dir;
  std::ofstream(dir / "checkpoints") << "a file";
  EXPECT_THAT(error_of([&] { CheckpointWriter(dir / "checkpoints" / folder_name(1), 0).prepare(); }),
              AllOf(HasSubstr("checkpoints"), HasSubstr("Not a directory")));
}

}  // namespace
}  // namespace lmnet
