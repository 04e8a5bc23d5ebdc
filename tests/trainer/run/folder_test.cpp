#include "trainer/run/folder.h"

#include <gmock/gmock.h>

#include "tests/trainer/checkpoint/helpers.h"
#include "tests/trainer/config/helpers.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/checkpoint/file_io.h"

namespace lmnet {
namespace {

TEST(RunFolder, knows_the_update_that_its_status_tells) {
  const TemporaryFolder place;
  const RunFolder folder(place / "run");
  EXPECT_EQ(folder.status().update, 0);
  folder.open(testing::small(), "plan");
  EXPECT_EQ(folder.status().update, 0);
  folder.set_status({"running", "", 0, 40});
  EXPECT_EQ(folder.status().update, 40);
  std::ofstream(folder.path() / "status.json") << "{\"upd";
  EXPECT_EQ(folder.status().update, 0);
}

TEST(RunFolder, knows_what_ended_the_last_start_that_began) {
  EXPECT_EQ(RunFolder::error_of({}), "");
  EXPECT_EQ(RunFolder::error_of({"running", "", 0, 40}), "ended without a word at update 40");
  EXPECT_EQ(RunFolder::error_of({"failed", "not finite", 1, 40, 0, "not finite"}), "not finite");
  EXPECT_EQ(RunFolder::error_of({"failed", "another config", 2, 40, 0, "not finite"}), "not finite");
  EXPECT_EQ(RunFolder::error_of({"failed", "another config", 2, 40}), "");
}

TEST(RunFolder, sets_later_checkpoints_aside_in_place_of_those_set_aside_before) {
  const TemporaryFolder place;
  const RunFolder folder(place / "run");
  folder.open(testing::small(), "plan");
  for (const char* name : {"step-000000010", "step-000000020", "damaged-step-000000020"}) {
    std::filesystem::create_directories(folder.checkpoints() / name);
    std::ofstream(folder.checkpoints() / name / "manifest.json") << name;
  }
  folder.set_damaged_aside(10);
  EXPECT_EQ(list_checkpoints(folder.checkpoints()).size(), 1U);
  EXPECT_FALSE(std::filesystem::exists(folder.checkpoints() / "step-000000020"));
  EXPECT_EQ(read_text(folder.checkpoints() / "damaged-step-000000020/manifest.json"), "step-000000020");
}

TEST(RunFolder, says_what_cannot_be_written) {
  const TemporaryFolder place;
  std::ofstream(place / "run") << "a file";
  EXPECT_THROW(RunFolder(place / "run").open(testing::small(), "plan"), CheckpointError);
}

}  // namespace
}  // namespace lmnet
