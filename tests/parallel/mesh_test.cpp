#include "parallel/mesh.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/graph/errors.h"
#include "parallel/thread_communicator.h"

namespace lmnet {
namespace {

using ::testing::HasSubstr;

TEST(Mesh, ranks_of_a_replica_are_neighbours) {
  run_ranks(6, [](Communicator& world) {
    const Mesh mesh(world, 3);
    EXPECT_EQ(mesh.vp_size, 3);
    EXPECT_EQ(mesh.dp_size, 2);
    EXPECT_EQ(mesh.dp_rank * 3 + mesh.vp_rank, world.rank());
    EXPECT_EQ(mesh.world->rank(), world.rank());
    EXPECT_EQ(mesh.vertex->rank(), mesh.vp_rank);
    EXPECT_EQ(mesh.vertex->size(), 3);
    EXPECT_EQ(mesh.data->rank(), mesh.dp_rank);
    EXPECT_EQ(mesh.data->size(), 2);
    EXPECT_EQ(mesh.replica->rank(), mesh.vp_rank);
    EXPECT_EQ(mesh.replica->size(), 3);
  });
}

TEST(Mesh, groups_hold_the_ranks_of_their_row_and_column) {
  run_ranks(4, [](Communicator& world) {
    const Mesh mesh(world, 2);
    at::Tensor row = at::full({1}, world.rank(), at::kLong);
    at::Tensor column = row.clone();
    mesh.vertex->all_reduce(row);
    mesh.data->all_reduce(column);
    EXPECT_EQ(row.item<int64_t>(), world.rank() < 2 ? 0 + 1 : 2 + 3);
    EXPECT_EQ(column.item<int64_t>(), world.rank() % 2 == 0 ? 0 + 2 : 1 + 3);
  });
}

TEST(Mesh, control_exchange_and_gradients_do_not_wait_for_each_other) {
  run_ranks(4, [](Communicator& world) {
    const Mesh mesh(world, 2);
    at::Tensor control = at::full({1}, world.rank(), at::kLong);
    at::Tensor exchange = control.clone();
    at::Tensor gradient = control.clone();
    std::vector<Work> works;
    const auto start = [&](Communicator& group, at::Tensor& tensor) {
      works.push_back(group.start_all_reduce(tensor));
    };
    if (world.rank() % 2 == 0) {
      start(*mesh.data, gradient);
      works.back().wait();  // its peer waits for the same first
      start(*mesh.replica, gradient);
      start(*mesh.vertex, exchange);
      start(*mesh.world, control);
    } else {
      start(*mesh.world, control);
      start(*mesh.vertex, exchange);
      start(*mesh.data, gradient);
      start(*mesh.replica, gradient);
    }
    for (const Work& work : works) {
      work.wait();
    }
    EXPECT_EQ(control.item<int64_t>(), 0 + 1 + 2 + 3);
    EXPECT_EQ(gradient.item<int64_t>(), 0 + 1 + 2 + 3);
    EXPECT_EQ(exchange.item<int64_t>(), world.rank() < 2 ? 0 + 1 : 2 + 3);
  });
}

TEST(Mesh, a_size_that_does_not_fit_is_named_with_those_that_do) {
  run_ranks(4, [](Communicator& world) {
    for (const int wrong : {3, 8, 0, -2}) {
      try {
        const Mesh mesh(world, wrong);
        ADD_FAILURE() << "no error for " << wrong;
      } catch (const ConfigError& error) {
        EXPECT_THAT(error.what(), HasSubstr("parallel.vertex"));
        EXPECT_THAT(error.what(), HasSubstr(std::to_string(wrong) + " does not divide the 4 ranks"));
        EXPECT_THAT(error.what(), HasSubstr("one of 1, 2, 4"));
      }
    }
  });
}

}  // namespace
}  // namespace lmnet
