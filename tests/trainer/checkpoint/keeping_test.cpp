#include "trainer/checkpoint/keeping.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <fstream>

#include "tests/trainer/checkpoint/helpers.h"
#include "trainer/checkpoint/checkpoint_folder.h"

namespace lmnet {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
namespace fs = std::filesystem;

/// Checkpoints of some updates.
class Keep : public ::testing::Test {
 protected:
  fs::path write(int64_t update, std::optional<double> validation_loss = {}) {
    CheckpointWriter writer(folder_ / folder_name(update), 0);
    writer.prepare();
    writer.hand_in();
    Manifest manifest;
    manifest.update = update;
    manifest.validation_loss = validation_loss;
    writer.finish(manifest, {});
    return writer.folder();
  }
  void write_all(int64_t count) {
    for (int64_t update = 1; update <= count; ++update) write(update);
  }
  void keep(const Keeping& keeping) { keep_checkpoints(folder_.path(), keeping); }
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_.path()))
      if (!entry.is_symlink()) names.push_back(entry.path().filename().string());
    std::ranges::sort(names);
    return names;
  }
  std::string target(const char* link) const { return fs::read_symlink(folder_ / link).string(); }

  TemporaryFolder folder_;
};

TEST_F(Keep, the_newest_and_what_is_no_complete_checkpoint) {
  write_all(5);
  fs::create_directory(folder_ / "step-000000000");
  fs::create_directory(folder_ / ".step-000000006.tmp");
  keep({.newest = 2});
  EXPECT_THAT(names(), ElementsAre(".step-000000006.tmp", "step-000000000", "step-000000004", "step-000000005"));
}

TEST_F(Keep, those_of_every_nth_update) {
  write_all(7);
  keep({.newest = 1, .every = 3});
  EXPECT_THAT(names(), ElementsAre("step-000000003", "step-000000006", "step-000000007"));
}

TEST_F(Keep, always_the_last_one) {
  write(1);
  keep({.newest = 0, .best = 0});
  EXPECT_THAT(names(), ElementsAre("step-000000001"));
}

TEST_F(Keep, the_best_by_validation_loss_and_the_newer_of_equals) {
  write(1, 2.0);
  write(2, 1.5);
  write(3, 1.5);
  write(4, 1.75);
  write(5);
  keep({.newest = 1, .best = 2});
  EXPECT_THAT(names(), ElementsAre("step-000000002", "step-000000003", "step-000000005"));
  EXPECT_EQ(target("best"), "step-000000003");
  EXPECT_EQ(target("latest"), "step-000000005");
  write(6, 1.0);
  keep({.newest = 1, .best = 1});
  EXPECT_THAT(names(), ElementsAre("step-000000006"));
  EXPECT_EQ(target("best"), "step-000000006");
}

TEST_F(Keep, no_best_without_a_loss_or_where_none_is_wanted) {
  write(1);
  keep({});
  EXPECT_FALSE(fs::is_symlink(folder_ / "best"));
  write(2, 1.0);
  keep({});
  EXPECT_EQ(target("best"), "step-000000002");
  keep({.best = 0});
  EXPECT_FALSE(fs::is_symlink(folder_ / "best"));
}

TEST_F(Keep, links_lead_to_checkpoints_and_are_cleaned_of_unfinished_ones) {
  write(1, 1.0);
  keep({});
  EXPECT_NO_THROW(open_checkpoint(folder_ / "latest", /*verify=*/true));
  EXPECT_NO_THROW(open_checkpoint(folder_ / "best", /*verify=*/true));
  fs::create_symlink("step-000000002", folder_ / ".latest.tmp");
  clean_partial(folder_.path());
  EXPECT_FALSE(fs::is_symlink(folder_ / ".latest.tmp"));
}

TEST_F(Keep, old_ones_go_also_where_no_link_can_be_made_which_is_told) {
  write_all(2);
  fs::create_directories(folder_ / "latest" / "in the way");
  EXPECT_THAT(error_of([&] { keep({.newest = 1}); }), HasSubstr("latest"));
  EXPECT_THAT(names(), ElementsAre("latest", "step-000000002"));
}

TEST_F(Keep, leaves_alone_what_it_cannot_read) {
  write_all(3);
  std::ofstream(folder_ / "step-000000001" / "manifest.json") << "damaged";
  keep({.newest = 1});
  EXPECT_THAT(names(), ElementsAre("step-000000001", "step-000000003"));
}

TEST_F(Keep, nobody_finds_a_checkpoint_that_is_half_removed) {
  write_all(2);
  int calls = 0;
  keep_checkpoints(folder_.path(), {.newest = 1}, [&](const char* point) {
    EXPECT_STREQ(point, "save-clean");
    EXPECT_THAT(names(), Not(Contains("step-000000001")));
    ++calls;
  });
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace lmnet
