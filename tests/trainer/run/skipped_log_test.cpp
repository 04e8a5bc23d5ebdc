#include "trainer/run/skipped_log.h"

#include <gmock/gmock.h>

#include "parallel/thread_communicator.h"
#include "tests/data/support.h"
#include "trainer/together.h"

namespace lmnet {
namespace {

using test::TempFolder;
using ::testing::HasSubstr;

SkippedRecord bad(const std::string& file, int64_t record) {
  return {file, record, record + 1, "no text"};
}

TEST(SkippedLog, lists_each_record_once_in_an_order_of_its_own_whatever_rank_met_it) {
  TempFolder folder;
  run_ranks(2, [&](Communicator& world) {
    SkippedLog log(10);
    const bool first = world.rank() == 0;
    // Before there is a file.
    EXPECT_EQ(log.add(world, first ? std::vector{bad("v", 9)} : std::vector{bad("v", 9), bad("v", 2)}), 2);
    if (first) log.open(folder.path("skipped.jsonl"));
    EXPECT_EQ(log.add(world, {}), 0);
    EXPECT_EQ(log.add(world, first ? std::vector{bad("b", 1)} : std::vector{bad("a", 5), bad("v", 2)}), 2);
    EXPECT_EQ(log.add(world, {bad("b", 1)}), 0);
  });
  EXPECT_EQ(test::read_file(folder.path("skipped.jsonl")),
            "{\"file\":\"v\",\"record\":2,\"line\":3,\"reason\":\"no text\"}\n"
            "{\"file\":\"v\",\"record\":9,\"line\":10,\"reason\":\"no text\"}\n"
            "{\"file\":\"a\",\"record\":5,\"line\":6,\"reason\":\"no text\"}\n"
            "{\"file\":\"b\",\"record\":1,\"line\":2,\"reason\":\"no text\"}\n");
}

TEST(SkippedLog, goes_on_where_an_earlier_one_stopped_or_was_killed) {
  TempFolder folder;
  const auto file = folder.path("skipped.jsonl");
  run_ranks(1, [&](Communicator& world) {
    SkippedLog log(10);
    log.open(file);
    EXPECT_FALSE(std::filesystem::exists(file));
    log.add(world, {bad("a", 1), bad("a", 2)});
  });
  const std::string whole = test::read_file(file);
  std::ofstream(file) << whole.substr(0, whole.size() - 7);
  run_ranks(1, [&](Communicator& world) {
    SkippedLog log(10);
    EXPECT_EQ(log.add(world, {bad("a", 1)}), 1);  // of the validation data
    log.open(file);
    EXPECT_EQ(log.add(world, {bad("a", 1), bad("a", 2)}), 1);
  });
  EXPECT_EQ(test::read_file(file), whole);
}

TEST(SkippedLog, counts_on_where_its_file_cannot_be_written_and_warns_once) {
  TempFolder folder;
  const auto file = folder.path("gone/skipped.jsonl");
  run_ranks(2, [&](Communicator& world) {
    SkippedLog log(3);
    const bool first = world.rank() == 0;
    if (first) log.open(file);
    EXPECT_EQ(log.add(world, {bad("a", 1)}), 1);
    if (first) {
      EXPECT_THAT(log.take_warning(), HasSubstr("skipped.jsonl: cannot be written: No such file"));
    }
    EXPECT_EQ(log.add(world, {bad("a", 2)}), 1);
    EXPECT_EQ(log.take_warning(), "");
    if (first) {
      EXPECT_FALSE(log.written());
      std::filesystem::create_directory(folder.path("gone"));
    }
    EXPECT_EQ(log.add(world, {}), 0);
    EXPECT_TRUE(log.written());
    EXPECT_EQ(log.add(world, {bad("a", 3)}), 1);
    EXPECT_THROW(log.add(world, {bad("a", 4)}), AgreedError);
  });
  EXPECT_EQ(std::ranges::count(test::read_file(file), '\n'), 4);
}

TEST(SkippedLog, ends_all_ranks_above_its_limit_and_has_written_why) {
  TempFolder folder;
  run_ranks(2, [&](Communicator& world) {
    SkippedLog log(2);
    if (world.rank() == 0) log.open(folder.path("skipped.jsonl"));
    EXPECT_EQ(log.add(world, {bad("a", 1), bad("a", 2)}), 2);
    try {
      log.add(world, world.rank() == 0 ? std::vector<SkippedRecord>() : std::vector{bad("a", 7)});
      ADD_FAILURE() << "no error";
    } catch (const AgreedError& error) {
      EXPECT_EQ(error.code(), 3);
      EXPECT_THAT(error.what(),
                  HasSubstr("a: record 7: no text; it is bad record 3 of this run, data.bad_record_limit is 2"));
    }
  });
  EXPECT_THAT(test::read_file(folder.path("skipped.jsonl")), HasSubstr("\"record\":7"));
}

}  // namespace
}  // namespace lmnet
