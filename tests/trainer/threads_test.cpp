#include "trainer/threads.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "tests/trainer/checkpoint/helpers.h"
#include "trainer/checkpoint/file_io.h"

namespace lmnet {
namespace {

std::vector<int> threads_of(const std::vector<RankCpus>& ranks) {
  std::vector<int> threads;
  for (size_t rank = 0; rank < ranks.size(); ++rank) threads.push_back(threads_of_rank(ranks, rank));
  return threads;
}

using ::testing::ElementsAre;

TEST(ThreadsOfRank, unbound_ranks_share_the_cpus_of_their_host) {
  EXPECT_THAT(threads_of({{"a", "11111111"}, {"a", "11111111"}, {"b", "1111"}}), ElementsAre(4, 4, 4));
  EXPECT_THAT(threads_of({{"a", "11"}, {"a", "11"}, {"a", "11"}}), ElementsAre(1, 1, 1)) << "more ranks than cpus";
}

TEST(ThreadsOfRank, bound_ranks_have_their_own) {
  EXPECT_THAT(threads_of({{"a", "11110000"}, {"a", "00001111"}}), ElementsAre(4, 4));
  EXPECT_THAT(threads_of({{"a", "11110000"}, {"a", "11110000"}, {"a", "00001111"}}), ElementsAre(2, 2, 4));
}

TEST(ThreadsOfRank, share_the_quota_of_their_host) {
  EXPECT_THAT(threads_of({{"a", "11111111", 3.5}, {"a", "11111111", 3.5}, {"b", "11111111", 0.5}}),
              ElementsAre(1, 1, 1));
  EXPECT_THAT(threads_of({{"a", "11111111", 100}}), ElementsAre(8));
}

TEST(CpusOfProcess, takes_the_smallest_quota_above_it) {
  const TemporaryFolder place;
  const std::filesystem::path groups = place / "groups";
  std::filesystem::create_directories(groups / "job" / "step");
  write_text(place / "proc", "1:name=systemd:/other\n0::/job/step\n");
  const auto quota = [&] { return cpus_of_process("h", (place / "proc").string(), groups.string()).quota; };
  EXPECT_EQ(quota(), 0);
  write_text(groups / "job" / "step" / "cpu.max", "max 100000\n");
  EXPECT_EQ(quota(), 0);
  write_text(groups / "job" / "cpu.max", "250000 100000\n");
  EXPECT_EQ(quota(), 2.5);
  write_text(groups / "cpu.max", "100000 100000\n");
  EXPECT_EQ(quota(), 1);
}

TEST(CpusOfProcess, has_one_of_them_at_least) {
  EXPECT_GE(std::ranges::count(cpus_of_process("h").mask, '1'), 1);
}

}  // namespace
}  // namespace lmnet
