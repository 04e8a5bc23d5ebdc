// Training on MPI processes is training on one: run by mpirun. Argument: how many there must be.
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <chrono>
#include <stdexcept>
#include <string>

#include "parallel/mpi_runtime.h"
#include "tests/trainer/agreement.h"

namespace lmnet::testing {
namespace {

/// Prints every difference from one rank, and returns how many.
size_t count_differences(Communicator& world) {
  size_t count = 0;
  for (const Trial& trial : mpi_trials(world.size())) {
    const Case& run = trial.run;
    const Outcome reference = train_alone(run);
    for (const Grid& grid : trial.grids) {
      if (world.rank() == 0) fmt::print("{}, {}\n", run.name, grid.name());
      const Outcome outcome = train(run, world, grid, run.micro_batch);
      for (const std::string& difference : differences(outcome, reference, tolerance_of(run.dtype))) {
        fmt::print(stderr, "{}, {}: rank {}: {}\n", run.name, grid.name(), world.rank(), difference);
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
    if (argc > 1 && runtime.size() != std::stoi(argv[1]))
      throw std::runtime_error(fmt::format("{} ranks instead of {}", runtime.size(), argv[1]));
    const auto world = runtime.world(std::chrono::seconds(60));
    const size_t count = lmnet::testing::count_differences(*world);
    if (count > 0) throw std::runtime_error(fmt::format("{} differences from one rank", count));
    world->barrier();
  } catch (const std::exception& error) {
    fmt::print(stderr, "rank {}: {}\n", runtime.rank(), error.what());
    runtime.abort(1);
  }
}
