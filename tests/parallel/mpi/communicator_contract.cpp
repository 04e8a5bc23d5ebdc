// The contract of communicators, kept by MPI processes: run by mpirun.
#include "tests/parallel/communicator_contract.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <thread>

#include "parallel/errors.h"
#include "parallel/mpi_runtime.h"
#include "parallel/reduction.h"

namespace lmnet::testing {
namespace {

using namespace std::chrono_literals;

/// The last rank comes too late: the others name it.
void a_wait_beyond_the_time_out_names_who_is_missing(const MpiRuntime& runtime) {
  const auto impatient = runtime.world(1s);
  const int late = runtime.size() - 1;
  if (runtime.size() == 1) {
    return;
  }
  if (runtime.rank() == late) {
    std::this_thread::sleep_for(1500ms);
    return;
  }
  try {
    impatient->barrier();
  } catch (const CommunicationError& error) {
    const std::string text = error.what();
    const std::string missing = fmt::format("no answer for 1 s from rank {} ({})", late, runtime.hosts()[late]);
    if (text.find(missing) == text.npos || text.find("barrier") == text.npos ||
        text.find(fmt::format("rank {} (", runtime.rank())) != 0) {
      throw std::runtime_error("wrong text: " + text);
    }
    return;
  }
  throw std::runtime_error("no CommunicationError");
}

void replicas_are_summed(Communicator& world) {
  Mesh mesh(world, world.size());
  std::vector<int> holders(world.size());
  std::iota(holders.begin(), holders.end(), 0);
  std::vector<Bucket> buckets{{at::full({100000}, world.rank() + 1., at::kDouble), holders}};
  sum_over_replicas(buckets, mesh);
  if (!at::equal(buckets[0].flat, at::full({100000}, world.size() * (world.size() + 1) / 2., at::kDouble))) {
    throw std::runtime_error("wrong sum");
  }
}

void run(const MpiRuntime& runtime) {
  const auto world = runtime.world(60s);
  for (const ContractCase& contract_case : communicator_contract()) {
    if (runtime.rank() == 0) {
      fmt::print("{}\n", contract_case.name);
    }
    contract_case.check(*world);
  }
  replicas_are_summed(*world);
  a_wait_beyond_the_time_out_names_who_is_missing(runtime);
}

}  // namespace
}  // namespace lmnet::testing

int main(int argc, char** argv) {
  const lmnet::MpiRuntime runtime(argc, argv);
  try {
    if (argc > 1 && runtime.size() != std::stoi(argv[1])) {
      throw std::runtime_error(fmt::format("{} ranks instead of {}", runtime.size(), argv[1]));
    }
    lmnet::testing::run(runtime);
  } catch (const std::exception& error) {
    fmt::print(stderr, "rank {}: {}\n", runtime.rank(), error.what());
    runtime.abort(1);
  }
}
