#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "parallel/communication_thread.h"
#include "parallel/device_backend.h"
#include "parallel/errors.h"
#include "parallel/host_communicator.h"
#include "parallel/thread_communicator.h"
#include "parallel/thread_transport.h"
#include "tests/parallel/communicator_contract.h"

namespace lmnet {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;

class CommunicatorContract : public ::testing::TestWithParam<std::tuple<testing::ContractCase, int>> {};

std::string case_name(const ::testing::TestParamInfo<std::tuple<testing::ContractCase, int>>& instance) {
  return std::string(std::get<0>(instance.param).name) + "_np" + std::to_string(std::get<1>(instance.param));
}

TEST_P(CommunicatorContract, holds_for_threads) {
  const auto& [contract_case, size] = GetParam();
  ASSERT_GE(size, contract_case.ranks);
  EXPECT_NO_THROW(run_ranks(size, [check = contract_case.check](Communicator& world) { check(world, at::kCPU); }));
}

INSTANTIATE_TEST_SUITE_P(Collectives, CommunicatorContract,
                         ::testing::Combine(::testing::ValuesIn(testing::communicator_contract()),
                                            ::testing::Values(1, 2, 3, 4, 8)),
                         case_name);
INSTANTIATE_TEST_SUITE_P(Queues, CommunicatorContract,
                         ::testing::Combine(::testing::ValuesIn(testing::communicator_queues()),
                                            ::testing::Values(1, 2, 3, 4, 8)),
                         case_name);
INSTANTIATE_TEST_SUITE_P(Failures, CommunicatorContract,
                         ::testing::Combine(::testing::ValuesIn(testing::communicator_failures()),
                                            ::testing::Values(2, 3, 8)),
                         case_name);

/// One rank: NCCL takes no two on one GPU.
class NcclContract : public ::testing::TestWithParam<testing::ContractCase> {};

TEST_P(NcclContract, holds_on_a_gpu) {
  if (!has_nvidia_driver()) {
    GTEST_SKIP() << "no NVIDIA GPU";
  }
  const std::shared_ptr<DeviceBackend> backend = open_cuda_backend(cuda_module_path());
  if (backend->count() == 0) {
    GTEST_SKIP() << backend->trouble();
  }
  const at::Device device = backend->use(0);
  const auto world = backend->world(std::move(make_thread_communicators(1).front()), device);
  EXPECT_NO_THROW(GetParam().check(*world, device));
}

INSTANTIATE_TEST_SUITE_P(Collectives, NcclContract, ::testing::ValuesIn(testing::communicator_contract()),
                         [](const auto& instance) { return std::string(instance.param.name); });
INSTANTIATE_TEST_SUITE_P(Queues, NcclContract, ::testing::ValuesIn(testing::communicator_queues()),
                         [](const auto& instance) { return std::string(instance.param.name); });

/// Tensors on the GPU whose messages the host carries.
class StagedContract : public ::testing::TestWithParam<testing::ContractCase> {};

TEST_P(StagedContract, holds_on_a_gpu) {
  if (!has_nvidia_driver()) {
    GTEST_SKIP() << "no NVIDIA GPU";
  }
  const std::shared_ptr<DeviceBackend> backend = open_cuda_backend(cuda_module_path());
  if (backend->count() == 0) {
    GTEST_SKIP() << backend->trouble();
  }
  const at::Device device = backend->use(0);
  EXPECT_NO_THROW(run_ranks(2, [&](Communicator& world) { GetParam().check(world, device); }));
}

INSTANTIATE_TEST_SUITE_P(Collectives, StagedContract, ::testing::ValuesIn(testing::communicator_contract()),
                         [](const auto& instance) { return std::string(instance.param.name); });
INSTANTIATE_TEST_SUITE_P(Queues, StagedContract, ::testing::ValuesIn(testing::communicator_queues()),
                         [](const auto& instance) { return std::string(instance.param.name); });

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
    } catch (const RankFailed& error) {
      EXPECT_EQ(error.rank(), 1);
      EXPECT_STREQ(error.what(), "the cause");
      ++woken;
      throw;
    }
  };
  EXPECT_THROW(run_ranks(4, body), std::invalid_argument);
  EXPECT_EQ(woken, 3);
}

TEST(ThreadCommunicator, a_barrier_holds_until_all_have_come) {
  std::atomic<int> come = 0;
  run_ranks(4, [&](Communicator& world) {
    for (int round = 1; round <= 20; ++round) {
      ++come;
      world.barrier();
      EXPECT_GE(come, 4 * round);
      world.barrier();
    }
  });
}

TEST(ThreadCommunicator, calls_that_disagree_fail_on_every_rank) {
  std::atomic<int> failed = 0;
  run_ranks(2, [&](Communicator& world) {
    at::Tensor tensor = at::zeros({1});
    try {
      world.rank() == 0 ? world.barrier() : world.all_reduce(tensor);
    } catch (const CommunicationError& error) {
      EXPECT_THAT(error.what(), HasSubstr("barrier"));
      EXPECT_THAT(error.what(), HasSubstr("all_reduce"));
      ++failed;
    }
  });
  EXPECT_EQ(failed, 2);
}

TEST(ThreadCommunicator, counts_of_which_one_end_expects_nothing_are_found) {
  run_ranks(2, [&](Communicator& world) {
    const std::vector<int64_t> none(2, 0);
    const std::vector<int64_t> one{world.rank() == 1 ? 1 : 0, 0};
    at::Tensor receive = at::zeros({0});
    EXPECT_THROW(world.all_to_all(at::zeros({one[0]}), one, receive, none), CommunicationError);
  });
}

TEST(ThreadCommunicator, what_is_under_way_when_all_is_closed_ends) {
  Work work;
  at::Tensor tensor = at::ones({100});
  {
    const auto communicators = make_thread_communicators(2);
    work = communicators.front()->start_all_reduce(tensor);
    EXPECT_FALSE(work.done());
  }
  EXPECT_TRUE(work.done());
  EXPECT_THROW(work.wait(), CommunicationError);
  EXPECT_TRUE(at::equal(tensor, at::ones({100})));
}

TEST(ThreadCommunicator, what_all_have_started_ends_well_while_they_close) {
  at::Tensor tensors[] = {at::ones({100'000}), at::ones({100'000})};
  auto communicators = make_thread_communicators(2);
  std::vector<Work> works;
  for (int rank = 0; rank < 2; ++rank) {
    works.push_back(communicators[rank]->start_all_reduce(tensors[rank]));
  }
  communicators.clear();
  for (int rank = 0; rank < 2; ++rank) {
    EXPECT_NO_THROW(works[rank].wait());
    EXPECT_TRUE(at::equal(tensors[rank], at::full({100'000}, 2.0f)));
  }
}

TEST(CommunicationThread, ends_the_process_when_nobody_takes_a_failure_up) {
  const std::vector<std::shared_ptr<Bell>> bells{std::make_shared<Bell>(), std::make_shared<Bell>()};
  auto transports = make_thread_transports(bells);
  std::promise<std::string> cause;
  std::once_flag once;
  const auto thread = std::make_shared<CommunicationThread>(std::move(transports[0]), bells[0]);
  thread->end_process_with(
      [&](const CommunicationError& error) { std::call_once(once, [&] { cause.set_value(error.what()); }); }, 100ms);
  HostCommunicator world(thread, {0, 1}, 1);
  world.enter("update 3", 50ms);
  at::Tensor tensor = at::ones({1});
  const Work work = world.start_all_reduce(tensor);
  EXPECT_THAT(cause.get_future().get(), HasSubstr("rank 0: update 3: all_reduce: no answer"));
  EXPECT_TRUE(work.done());
}

/// Four ranks wait for a fifth that never comes; says how many of them tell people.
size_t ranks_that_tell() {
  constexpr int ranks = 5;
  std::vector<std::shared_ptr<Bell>> bells;
  for (int rank = 0; rank < ranks; ++rank) bells.push_back(std::make_shared<Bell>());
  auto transports = make_thread_transports(bells);
  std::atomic<size_t> told = 0;
  std::vector<std::shared_ptr<CommunicationThread>> threads;
  std::vector<at::Tensor> tensors;
  std::vector<Work> works;
  std::vector<std::unique_ptr<HostCommunicator>> worlds;
  for (int rank = 0; rank + 1 < ranks; ++rank) {
    threads.push_back(std::make_shared<CommunicationThread>(std::move(transports[rank]), bells[rank]));
    threads.back()->tell_failures_with([&](const CommunicationError&) { ++told; });
    worlds.push_back(std::make_unique<HostCommunicator>(threads.back(), std::vector<int>{0, 1, 2, 3, 4}, 1));
    worlds.back()->enter("update 3", 300ms);
    works.push_back(worlds.back()->start_all_reduce(tensors.emplace_back(at::ones({1}))));
  }
  for (Work& work : works) EXPECT_THROW(work.wait(), CommunicationError);
  return told;
}

TEST(CommunicationThread, one_rank_tells_what_several_find_at_the_same_moment) {
  // A busy machine may hold up a rank for longer than what counts as the same moment: then it finds the failure apart.
  size_t told = 0;
  for (int attempt = 0; attempt < 5 && told != 1; ++attempt) {
    told = ranks_that_tell();
    EXPECT_GE(told, 1u);
  }
  EXPECT_EQ(told, 1u);
}

}  // namespace
}  // namespace lmnet
