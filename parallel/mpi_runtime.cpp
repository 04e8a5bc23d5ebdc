#include "parallel/mpi_runtime.h"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string_view>

#include "parallel/errors.h"
#include "parallel/mpi_communicator.h"

namespace lmnet {
namespace {

/// Must come before MPI_Init. What the user has set stays.
void set_defaults() {
  const auto set = [](const char* name, const char* value) { setenv(name, value, 0); };
  // A rank that waits leaves its processor to those that compute.
  set("OMPI_MCA_mpi_yield_when_idle", "1");
  const bool launched = std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr || std::getenv("PMIX_RANK") != nullptr;
  if (!launched) {
    // Alone: no helper processes (they would want ssh) and no search for a fast network.
    set("OMPI_MCA_ess_singleton_isolated", "1");
    set("OMPI_MCA_plm", "isolated");
    set("OMPI_MCA_pml", "ob1");
    set("OMPI_MCA_btl", "self,vader,tcp");
  }
}

void check_slurm(int size) {
  const char* tasks = std::getenv("SLURM_STEP_NUM_TASKS");
  if (size == 1 && tasks != nullptr && std::atoi(tasks) > 1 && std::getenv("OMPI_COMM_WORLD_SIZE") == nullptr) {
    throw CommunicationError(fmt::format(
        "Slurm started {} tasks, but MPI sees only one: start them with srun --mpi=pmix (or with mpirun).", tasks));
  }
}

std::vector<std::string> gather_hosts(int size) {
  char mine[MPI_MAX_PROCESSOR_NAME] = {};
  int length = 0;
  check_mpi(MPI_Get_processor_name(mine, &length), "MPI_Get_processor_name");
  std::vector<char> all(static_cast<size_t>(size) * sizeof(mine));
  check_mpi(MPI_Allgather(mine, sizeof(mine), MPI_CHAR, all.data(), sizeof(mine), MPI_CHAR, MPI_COMM_WORLD),
            "MPI_Allgather");
  std::vector<std::string> hosts;
  for (int r = 0; r < size; ++r) {
    hosts.emplace_back(all.data() + r * sizeof(mine));
  }
  return hosts;
}

}  // namespace

MpiRuntime::Session::Session(int& argc, char**& argv) : exceptions_(std::uncaught_exceptions()) {
  set_defaults();
  int provided = MPI_THREAD_SINGLE;
  check_mpi(MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &provided), "MPI_Init_thread");
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
}

MpiRuntime::Session::~Session() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (finalized == 0 && std::uncaught_exceptions() == exceptions_) {
    MPI_Finalize();
  }
}

MpiRuntime::MpiRuntime(int& argc, char**& argv) : session_(argc, argv) {
  int size = 0;
  check_mpi(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &size), "MPI_Comm_size");
  check_slurm(size);
  hosts_ = gather_hosts(size);
}

std::unique_ptr<Communicator> MpiRuntime::world(std::chrono::seconds timeout) const {
  std::vector<std::string> names;
  for (int r = 0; r < size(); ++r) {
    names.push_back(fmt::format("rank {} ({})", r, hosts_[r]));
  }
  return std::make_unique<MpiCommunicator>(MPI_COMM_WORLD, std::move(names), timeout);
}

void MpiRuntime::abort(int code) const noexcept {
  std::fflush(nullptr);
  MPI_Abort(MPI_COMM_WORLD, code);
  std::_Exit(code);
}

}  // namespace lmnet
