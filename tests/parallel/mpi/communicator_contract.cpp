// The contract of communicators, kept by MPI processes: run by mpirun. Argument: how many there must be.
#include "tests/parallel/communicator_contract.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <numeric>
#include <string>

#include "parallel/host_communicator.h"
#include "parallel/mpi_transport.h"

namespace lmnet::testing {
namespace {

/// A job of its own: a failure ends one.
std::unique_ptr<Communicator> make_world() {
  MPI_Comm group = MPI_COMM_NULL;
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &group), "MPI_Comm_dup");
  auto transport = std::make_unique<MpiTransport>(group);
  std::vector<int> all(transport->size());
  std::iota(all.begin(), all.end(), 0);
  auto thread = std::make_shared<CommunicationThread>(std::move(transport), std::make_shared<Bell>());
  return std::make_unique<HostCommunicator>(std::move(thread), std::move(all), 1);
}

void check_all(std::span<const ContractCase> cases, Communicator& world) {
  for (const ContractCase& contract_case : cases) {
    if (world.rank() == 0) {
      fmt::print("{}\n", contract_case.name);
    }
    contract_case.check(world, at::kCPU);
  }
}

/// Not judged.
void measure(Communicator& world, int64_t numbers, int calls) {
  at::Tensor tensor = at::ones({numbers});
  world.all_reduce(tensor, Reduction::max);
  const auto start = std::chrono::steady_clock::now();
  for (int call = 0; call < calls; ++call) {
    world.all_reduce(tensor, Reduction::max);
  }
  const std::chrono::duration<double, std::micro> time = std::chrono::steady_clock::now() - start;
  if (world.rank() == 0) {
    fmt::print("all_reduce of {} numbers: {:.1f} µs\n", numbers, time.count() / calls);
  }
}

void run() {
  {
    const auto world = make_world();
    check_all(communicator_contract(), *world);
    check_all(communicator_queues(), *world);
    measure(*world, 1, 2000);
    measure(*world, 8 << 20, 10);
  }
  // Kept: MPI would give the number of a freed group to the next one, with the messages that are still on their way.
  std::vector<std::unique_ptr<Communicator>> broken;
  for (const ContractCase& failure : communicator_failures()) {
    Communicator& world = *broken.emplace_back(make_world());
    if (world.size() >= failure.ranks) {
      check_all({&failure, 1}, world);
    }
    world.fail("the case is over", 1);  // its thread makes no calls of MPI any more
  }
}

}  // namespace
}  // namespace lmnet::testing

int main(int argc, char** argv) {
  int provided = 0, rank = 0, size = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &provided);
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  at::set_num_threads(1);
  try {
    if (argc > 1 && size != std::stoi(argv[1])) {
      throw std::runtime_error(fmt::format("{} ranks instead of {}", size, argv[1]));
    }
    lmnet::testing::run();
  } catch (const std::exception& error) {
    fmt::print(stderr, "rank {}: {}\n", rank, error.what());
    std::fflush(nullptr);
    std::_Exit(1);
  }
  MPI_Finalize();
}
