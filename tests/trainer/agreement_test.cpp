// Training on any number of ranks is training on one.
#include "tests/trainer/agreement.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "parallel/thread_communicator.h"
#include "tests/trainer/random_cases.h"

namespace lmnet::testing {
namespace {

/// The outcome of every rank, as threads.
std::vector<Outcome> train_on(const Grid& grid, const Case& run) {
  std::vector<Outcome> outcomes(grid.data * grid.vertex);
  run_ranks(grid.data * grid.vertex,
            [&](Communicator& world) { outcomes[world.rank()] = train(run, world, grid, run.micro_batch); });
  return outcomes;
}

void expect_all_names(const std::vector<Outcome>& outcomes, const Outcome& reference) {
  std::set<std::string> gradients, values;
  for (const Outcome& outcome : outcomes) {
    for (const auto& [name, tensor] : outcome.gradients) gradients.insert(name);
    for (const auto& [name, tensor] : outcome.values) values.insert(name);
  }
  EXPECT_EQ(gradients.size(), reference.gradients.size());
  EXPECT_EQ(values.size(), reference.values.size());
}

void expect_equal_copies(const std::vector<Outcome>& outcomes) {
  std::map<std::string, at::Tensor> first;
  for (const Outcome& outcome : outcomes)
    for (const auto& [name, value] : outcome.values) {
      auto [copy, fresh] = first.try_emplace(name, value);
      EXPECT_TRUE(fresh || at::equal(copy->second, value)) << "copies differ: " << name;
    }
}

class Agreement : public ::testing::TestWithParam<Trial> {
 protected:
  void SetUp() override { at::set_num_threads(1); }
};

TEST_P(Agreement, holds_on_every_grid) {
  const Case& run = GetParam().run;
  const Outcome reference = train_alone(run);
  for (const Grid& grid : GetParam().grids) {
    SCOPED_TRACE(grid.name());
    std::vector<Outcome> outcomes = train_on(grid, run);
    for (size_t rank = 0; rank < outcomes.size(); ++rank)
      for (const std::string& difference : differences(outcomes[rank], reference, tolerance_of(run.dtype)))
        ADD_FAILURE() << "rank " << rank << ": " << difference;
    expect_all_names(outcomes, reference);
    expect_equal_copies(outcomes);
    if (HasFailure()) return;
  }
}

std::string test_name(const ::testing::TestParamInfo<Trial>& info) {
  std::string name = info.param.run.name;
  std::erase(name, ',');
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); }, '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Cases, Agreement, ::testing::ValuesIn(trials()), test_name);

TEST(AgreementOfRandomGraphs, holds_on_random_grids) {
  at::set_num_threads(1);
  const char* all = std::getenv("LMNET_ALL_TESTS");
  const uint64_t seeds = all && std::string(all) == "1" ? 200 : 24;
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    const Case run = random_case(seed);
    const Grid grid = random_grid(seed);
    SCOPED_TRACE(run.name + " on " + grid.name() + ": " + graph_of(run).describe());
    const Outcome reference = train_alone(run);
    const std::vector<Outcome> outcomes = train_on(grid, run);
    for (size_t rank = 0; rank < outcomes.size(); ++rank)
      for (const std::string& difference : differences(outcomes[rank], reference, tolerance_of(run.dtype)))
        ADD_FAILURE() << "rank " << rank << ": " << difference;
    expect_all_names(outcomes, reference);
    expect_equal_copies(outcomes);
    if (HasFailure()) return;
  }
}

TEST(AgreementCases, clip_and_train) {
  at::set_num_threads(1);
  const Outcome reference = train_alone({.name = "", .topology = "1-2-1", .mask = Mask::all});
  EXPECT_GT(*std::max_element(reference.norms.begin(), reference.norms.end()), kClip);
  EXPECT_LT(reference.losses.back(), reference.losses.front());
  for (const auto& [name, gradient] : reference.gradients) EXPECT_GT(gradient.abs().max().item<double>(), 0) << name;
}

TEST(AgreementCases, without_targets_have_zero_gradients) {
  at::set_num_threads(1);
  const Outcome outcome = train_alone({.name = "", .stages = {{{true, true, true, true}, 2}}, .mask = Mask::none});
  EXPECT_EQ(outcome.losses, (std::vector<double>{0, 0}));
  EXPECT_EQ(outcome.norms, (std::vector<double>{0, 0}));
  for (const auto& [name, gradient] : outcome.gradients) EXPECT_EQ(gradient.abs().max().item<double>(), 0) << name;
  for (const auto& [name, value] : outcome.values) EXPECT_TRUE(value.isfinite().all().item<bool>()) << name;
}

TEST(Bfloat16, stays_near_fp32_on_every_grid) {
  at::set_num_threads(1);
  for (const char* topology : {"1-2-1", "skip"}) {
    Case run{.name = "", .topology = topology, .dtype = at::kFloat};
    const Outcome reference = train_alone(run);
    run.dtype = at::kBFloat16;
    for (const Grid& grid : {Grid{2, 2}, Grid{1, 4}}) {
      SCOPED_TRACE(topology + (" " + grid.name()));
      std::vector<Outcome> outcomes = train_on(grid, run);
      for (const Outcome& outcome : outcomes)
        for (size_t u = 0; u < reference.losses.size(); ++u)
          EXPECT_NEAR(outcome.losses[u], reference.losses[u], 0.02 * reference.losses[u]) << "update " << u + 1;
      expect_equal_copies(outcomes);
    }
  }
}

}  // namespace
}  // namespace lmnet::testing
