#include "parallel/reduction.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#include "parallel/errors.h"
#include "parallel/thread_communicator.h"

namespace lmnet {
namespace {

struct BucketShape {
  int64_t count;
  std::vector<int> holders;
};

/// In the plan's order; overlapping, single, more holders than elements, and none for rank 4.
const std::vector<BucketShape> shapes = {{1000, {0, 1}}, {777, {1, 2}}, {5, {3}},     {12345, {0, 1, 2, 3}},
                                         {2, {0, 2, 3}}, {0, {0, 3}},   {64, {0, 1}}, {31, {1, 3}}};

at::Tensor gradient_of(size_t bucket, int dp_rank, int vp_rank, at::ScalarType type) {
  const at::Tensor i = at::arange(shapes[bucket].count, at::kDouble);
  return (at::sin(i * 12.9898 + static_cast<double>(bucket) + 7. * dp_rank + 3. * vp_rank) * 1000).to(type);
}

/// Over replicas first, then over holders, each in rank order.
at::Tensor plain_sum(size_t bucket, int dp_size, at::ScalarType type) {
  at::Tensor sum = at::zeros({shapes[bucket].count}, type);
  for (const int holder : shapes[bucket].holders) {
    at::Tensor over_replicas = at::zeros_like(sum);
    for (int dp_rank = 0; dp_rank < dp_size; ++dp_rank) {
      over_replicas += gradient_of(bucket, dp_rank, holder, type);
    }
    sum += over_replicas;
  }
  return sum;
}

struct Layout {
  int vp_size, dp_size;
  at::ScalarType type;
  bool sharded;
};

class ReplicaGroups : public ::testing::TestWithParam<Layout> {
 protected:
  /// Gives `body` every bucket that a rank holds, with its group, in the plan's order.
  static void each_bucket(const std::function<void(Mesh&, size_t bucket, ReplicaGroup&)>& body) {
    const Layout& layout = GetParam();
    run_ranks(layout.vp_size * layout.dp_size, [&](Communicator& world) {
      Mesh mesh(world, layout.vp_size);
      for (size_t b = 0; b < shapes.size(); ++b) {
        if (std::ranges::count(shapes[b].holders, mesh.vp_rank) == 0) continue;
        ReplicaGroup group(mesh, shapes[b].holders, layout.sharded);
        body(mesh, b, group);
      }
    });
  }
};

TEST_P(ReplicaGroups, sum_to_the_bit_and_give_every_copy_the_same) {
  const Layout layout = GetParam();
  each_bucket([&](Mesh& mesh, size_t bucket, ReplicaGroup& group) {
    at::Tensor flat = gradient_of(bucket, mesh.dp_rank, mesh.vp_rank, layout.type);
    const at::Tensor expected = plain_sum(bucket, layout.dp_size, layout.type);
    group.start_reduce(flat).wait();
    const Shard shard = group.shard(flat.numel());
    EXPECT_TRUE(at::equal(shard.of(flat), shard.of(expected))) << "bucket " << bucket;
    group.start_gather(flat).wait();
    EXPECT_TRUE(at::equal(flat, expected)) << "bucket " << bucket;
  });
}

TEST_P(ReplicaGroups, many_under_way_do_not_mix) {
  const Layout layout = GetParam();
  run_ranks(layout.vp_size * layout.dp_size, [&](Communicator& world) {
    Mesh mesh(world, layout.vp_size);
    std::vector<std::pair<size_t, at::Tensor>> flats;
    std::vector<Work> works;
    for (size_t b = 0; b < shapes.size(); ++b) {
      if (std::ranges::count(shapes[b].holders, mesh.vp_rank) == 0) continue;
      ReplicaGroup group(mesh, shapes[b].holders, layout.sharded);
      flats.emplace_back(b, gradient_of(b, mesh.dp_rank, mesh.vp_rank, layout.type));
      group.start_reduce(flats.back().second);
      works.push_back(group.start_gather(flats.back().second));
      if (!layout.sharded) works.back() = group.start_reduce(at::zeros_like(flats.back().second));
    }
    for (const Work& work : works) work.wait();
    for (const auto& [b, flat] : flats)
      EXPECT_TRUE(at::equal(flat, plain_sum(b, layout.dp_size, layout.type))) << "bucket " << b;
  });
}

TEST_P(ReplicaGroups, count_every_element_once) {
  std::mutex mutex;
  std::vector<at::Tensor> times(shapes.size());
  each_bucket([&](Mesh&, size_t bucket, ReplicaGroup& group) {
    const std::lock_guard lock(mutex);
    at::Tensor& counted = times[bucket];
    if (!counted.defined()) counted = at::zeros({shapes[bucket].count});
    if (group.counts()) group.shard(shapes[bucket].count).of(counted).add_(1);
  });
  for (size_t b = 0; b < shapes.size(); ++b) {
    EXPECT_TRUE(!times[b].defined() || at::equal(times[b], at::ones_like(times[b]))) << "bucket " << b;
  }
}

INSTANTIATE_TEST_SUITE_P(Layouts, ReplicaGroups,
                         ::testing::Values(Layout{4, 1, at::kDouble, true}, Layout{4, 2, at::kDouble, true},
                                           Layout{4, 2, at::kFloat, true}, Layout{5, 1, at::kFloat, true},
                                           Layout{4, 2, at::kDouble, false}, Layout{5, 1, at::kFloat, false}));

TEST(ReplicaGroup, of_one_vertex_rank_sums_over_replicas_alone) {
  run_ranks(3, [](Communicator& world) {
    Mesh mesh(world, 1);
    ReplicaGroup group(mesh, {0}, /*sharded=*/true);
    at::Tensor flat = at::full({4}, world.rank() + 1., at::kDouble);
    group.start_reduce(flat);
    group.start_gather(flat).wait();
    EXPECT_TRUE(at::equal(flat, at::full({4}, 6., at::kDouble)));
  });
}

TEST(ReplicaGroup, of_wrong_holders_is_refused) {
  const auto attempt = [](std::vector<int> holders) {
    run_ranks(1, [&](Communicator& world) {
      Mesh mesh(world, 1);
      ReplicaGroup(mesh, holders, /*sharded=*/true);
    });
  };
  EXPECT_THROW(attempt({}), CommunicationError);
  EXPECT_THROW(attempt({1}), CommunicationError);
  EXPECT_THROW(attempt({0, 1}), CommunicationError);
  EXPECT_THROW(attempt({0, 0}), CommunicationError);
}

}  // namespace
}  // namespace lmnet
