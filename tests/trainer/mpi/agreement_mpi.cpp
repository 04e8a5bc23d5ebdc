// Training on MPI processes is training on one: run by mpirun. Arguments: number of ranks, then ranks of a replica.
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

#include "parallel/mpi_runtime.h"
#include "tests/trainer/agreement.h"

namespace lmnet::testing {
namespace {

/// Runs every case with replicas of each of these sizes; prints every difference from one rank, and returns how many.
size_t count_differences(Communicator& world, const std::vector<int>& vertex_parallel) {
  size_t count = 0;
  for (const Case& run : mpi_cases()) {
    const Outcome reference = train_alone(run);
    for (int vp : vertex_parallel) {
      const std::string name = fmt::format("{}, {}", Grid{world.size() / vp, vp}.name(), run.name);
      if (world.rank() == 0) fmt::print("{}\n", name);
      const Outcome outcome = train(run, world, vp, run.micro_batch);
      for (const std::string& difference : differences(outcome, reference, tolerance_of(run.dtype))) {
        fmt::print(stderr, "{}: rank {}: {}\n", name, world.rank(), difference);
        ++count;
      }
    }
  }
  return count;
}

}  // namespace
}  // namespace lmnet::testing

int main(int argc, char** argv) {
  const lmnet::MpiRuntime runtime(argc, argv);
  try {
    at::set_num_threads(1);
    std::vector<int> sizes;
    for (int i = 1; i < argc; ++i) sizes.push_back(std::stoi(argv[i]));
    if (sizes.size() < 2 || runtime.size() != sizes.front())
      throw std::runtime_error(fmt::format("usage: {} RANKS VERTEX_PARALLEL…, on RANKS ranks", argv[0]));
    const auto world = runtime.world(std::chrono::seconds(60));
    sizes.erase(sizes.begin());
    const size_t count = lmnet::testing::count_differences(*world, sizes);
    if (count > 0) throw std::runtime_error(fmt::format("{} differences from one rank", count));
    world->barrier();
  } catch (const std::exception& error) {
    fmt::print(stderr, "rank {}: {}\n", runtime.rank(), error.what());
    runtime.abort(1);
  }
}
