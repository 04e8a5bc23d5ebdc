#include <ATen/ATen.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "tests/trainer/checkpoint/helpers.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/checkpoint/checkpoint_reader.h"
#include "trainer/checkpoint/checkpoint_writer.h"
#include "trainer/checkpoint/file_io.h"

namespace lmnet {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

/// A disk of a few MiB that tests/scripts/small_disk_test.sh makes.
class SmallDisk : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* disk = std::getenv("LMNET_SMALL_DISK");
    if (disk == nullptr) GTEST_SKIP() << "run by tests/scripts/small_disk_test.sh";
    disk_ = disk;
  }

  uint64_t room() const {
    struct statvfs status {};
    ::statvfs(disk_.c_str(), &status);
    return uint64_t{status.f_bavail} * status.f_frsize;
  }
  /// Leaves so much room.
  void fill(uint64_t bytes) const {
    const FileDescriptor file(disk_ / "filling", O_WRONLY | O_CREAT);
    const auto filling = static_cast<off_t>(room() - std::min(room(), bytes));
    ASSERT_TRUE(filling == 0 || ::fallocate(file.number(), 0, 0, filling) == 0);
  }

  /// A checkpoint with a tensor large enough to go past the page cache, small ones, and texts; the disk is filled once
  /// it has begun.
  void save(int64_t update, const std::function<void()>& begun) const {
    CheckpointWriter writer(disk_ / folder_name(update), 0);
    try {
      writer.prepare();
      begun();
      writer.add("edges", "large", at::full({300'000}, update, at::kFloat));
      for (int i = 0; i < 20; ++i) writer.add("edges", fmt::format("small.{}", i), at::full({100}, i, at::kFloat));
      writer.add("vertices", "one", at::ones({2000}, at::kBFloat16));
      writer.hand_in();
      Manifest manifest;
      manifest.update = update;
      writer.finish(manifest, {{"config.yaml", std::string(5000, '#')}, {"state.json", "{}"}});
    } catch (const CheckpointError&) {
      remove_path(writer.temporary());
      throw;
    }
  }

  fs::path disk_;
};

TEST_F(SmallDisk, any_write_of_a_save_may_fail_and_the_next_one_succeeds) {
  constexpr uint64_t page = 4096;
  save(1, [] {});
  const uint64_t before = room();
  save(2, [] {});
  const uint64_t taken = before - room();
  fs::remove_all(disk_ / folder_name(2));
  size_t failed = 0;
  for (uint64_t left = 0; left <= taken; left += page) {
    try {
      save(2, [&] { fill(left); });
      EXPECT_GE(left + 2 * page, taken);
    } catch (const CheckpointError& error) {
      ++failed;
      EXPECT_THAT(error.what(),
                  AllOf(HasSubstr(disk_.string()), HasSubstr("No space left on device"), HasSubstr("run.dir")));
      EXPECT_FALSE(fs::exists(disk_ / folder_name(2)));
    }
    EXPECT_NO_THROW(open_checkpoint(disk_ / folder_name(1), /*verify=*/true));
    fs::remove(disk_ / "filling");
    fs::remove_all(disk_ / folder_name(2));
    EXPECT_EQ(room(), before) << left;
  }
  EXPECT_GE(failed, taken / page - 2);
  save(2, [] {});
  EXPECT_NO_THROW(open_checkpoint(disk_ / folder_name(2), /*verify=*/true));
  fs::remove_all(disk_ / folder_name(1));
  fs::remove_all(disk_ / folder_name(2));
}

}  // namespace
}  // namespace lmnet
