#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <tuple>

#include "parallel/errors.h"
#include "parallel/thread_communicator.h"
#include "tests/parallel/communicator_contract.h"

namespace lmnet {
namespace {

using ::testing::HasSubstr;

class CommunicatorContract : public ::testing::TestWithParam<std::tuple<testing::ContractCase, int>> {};

TEST_P(CommunicatorContract, holds_for_threads) {
  const auto& [contract_case, size] = GetParam();
  EXPECT_NO_THROW(run_ranks(size, contract_case.check));
}

INSTANTIATE_TEST_SUITE_P(Threads, CommunicatorContract,
                         ::testing::Combine(::testing::ValuesIn(testing::communicator_contract().begin(),
                                                                testing::communicator_contract().end()),
                                            ::testing::Values(1, 2, 3, 4)),
                         [](const auto& instance) {
                           return std::string(std::get<0>(instance.param).name) + "_np" +
                                  std::to_string(std::get<1>(instance.param));
                         });

TEST(RunRanks, gives_every_rank_its_number) {
  std::atomic<int> seen = 0;
  run_ranks(3, [&](Communicator& world) {
    EXPECT_EQ(world.size(), 3);
    seen += 1 << world.rank();
  });
  EXPECT_EQ(seen, 7);
}

TEST(RunRanks, throws_the_failure_and_not_what_it_caused_in_ranks_that_wait) {
  std::atomic<int> woken = 0;
  const auto body = [&](Communicator& world) {
    if (world.rank() == 1) {
      throw std::invalid_argument("the cause");
    }
    try {
      world.barrier();
    } catch (const CommunicationError& error) {
      EXPECT_THAT(error.what(), HasSubstr("rank 1 failed"));
      EXPECT_THAT(error.what(), HasSubstr("barrier"));
      ++woken;
      throw;
    }
  };
  EXPECT_THROW(run_ranks(4, body), std::invalid_argument);
  EXPECT_EQ(woken, 3);
}

TEST(ThreadCommunicator, abort_wakes_ranks_in_other_groups_of_the_world) {
  std::atomic<int> woken = 0;
  run_ranks(4, [&](Communicator& world) {
    const auto pair = world.split(world.rank() / 2);
    if (world.rank() == 3) {
      pair->abort(4);
      return;
    }
    EXPECT_THROW(
        for (;;) { pair->barrier(); }, CommunicationError);
    EXPECT_THROW(world.barrier(), CommunicationError) << "a rank that comes to wait after the abort";
    ++woken;
  });
  EXPECT_EQ(woken, 3);
}

TEST(ThreadCommunicator, counts_that_disagree_fail_on_every_rank) {
  std::atomic<int> failed = 0;
  run_ranks(3, [&](Communicator& world) {
    const at::Tensor send = at::zeros({3});
    const std::vector<int64_t> ones(3, 1);
    std::vector<int64_t> counts(3, 1);
    counts[1] += world.rank() == 2;
    at::Tensor receive = at::zeros({3 + (world.rank() == 2)});
    try {
      world.all_to_all(send, ones, receive, counts);
    } catch (const CommunicationError& error) {
      EXPECT_THAT(error.what(), HasSubstr("all_to_all"));
      EXPECT_THAT(error.what(), HasSubstr("rank 1 sends 4 bytes to rank 2, which expects 8"));
      ++failed;
    }
  });
  EXPECT_EQ(failed, 3);
}

TEST(ThreadCommunicator, calls_that_disagree_fail_on_every_rank) {
  std::atomic<int> failed = 0;
  run_ranks(2, [&](Communicator& world) {
    at::Tensor tensor = at::zeros({1});
    EXPECT_THROW(world.rank() == 0 ? world.barrier() : world.all_reduce(tensor), CommunicationError);
    ++failed;
  });
  EXPECT_EQ(failed, 2);
}

}  // namespace
}  // namespace lmnet
