#include "parallel/reduction.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

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

class SumOverReplicas : public ::testing::TestWithParam<std::tuple<int, int, at::ScalarType>> {};

TEST_P(SumOverReplicas, equals_a_plain_sum_to_the_bit_on_every_holder) {
  const auto& [vp_size, dp_size, type] = GetParam();
  run_ranks(vp_size * dp_size, [vp_size = vp_size, dp_size = dp_size, type = type](Communicator& world) {
    Mesh mesh(world, vp_size);
    std::vector<Bucket> buckets;
    std::vector<size_t> numbers;
    for (size_t b = 0; b < shapes.size(); ++b) {
      if (std::ranges::count(shapes[b].holders, mesh.vp_rank) > 0) {
        buckets.push_back({gradient_of(b, mesh.dp_rank, mesh.vp_rank, type), shapes[b].holders});
        numbers.push_back(b);
      }
    }
    sum_over_replicas(buckets, mesh);
    for (size_t i = 0; i < buckets.size(); ++i) {
      EXPECT_TRUE(at::equal(buckets[i].flat, plain_sum(numbers[i], dp_size, type)))
          << "bucket " << numbers[i] << " on rank " << world.rank();
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Layouts, SumOverReplicas,
                         ::testing::Values(std::tuple(4, 1, at::kDouble), std::tuple(4, 2, at::kDouble),
                                           std::tuple(4, 2, at::kFloat), std::tuple(5, 1, at::kFloat)));

TEST(SumOverReplicasOfOneVertexRank, sums_over_replicas_alone) {
  run_ranks(3, [](Communicator& world) {
    Mesh mesh(world, 1);
    std::vector<Bucket> buckets{{at::full({4}, world.rank() + 1., at::kDouble), {0}}};
    sum_over_replicas(buckets, mesh);
    EXPECT_TRUE(at::equal(buckets[0].flat, at::full({4}, 6., at::kDouble)));
  });
}

TEST(SumOverReplicasOfWrongBuckets, names_the_rank) {
  const auto attempt = [](std::vector<int> holders) {
    run_ranks(1, [&](Communicator& world) {
      Mesh mesh(world, 1);
      std::vector<Bucket> buckets{{at::zeros({4}), std::move(holders)}};
      sum_over_replicas(buckets, mesh);
    });
  };
  EXPECT_THROW(attempt({}), CommunicationError);
  EXPECT_THROW(attempt({1}), CommunicationError);
  EXPECT_THROW(attempt({0, 1}), CommunicationError);
  EXPECT_THROW(attempt({0, 0}), CommunicationError);
}

}  // namespace
}  // namespace lmnet
