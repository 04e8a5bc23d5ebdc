#include "parallel/launch_environment.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "parallel/errors.h"

namespace lmnet {
namespace {

using Launcher = LaunchEnvironment::Launcher;

class VariableReader {
 public:
  explicit VariableReader(const Variables& variables) : variables_(variables) {}

  std::string_view text(const char* name) const {
    const char* value = variables_(name);
    return value == nullptr ? std::string_view() : std::string_view(value);
  }

  std::optional<int> number(const char* name) const {
    const std::string_view value = text(name);
    int result = 0;
    const auto [stop, error] = std::from_chars(value.data(), value.data() + value.size(), result);
    const bool whole = error == std::errc{} && stop == value.data() + value.size();
    return whole && result >= 0 ? std::optional(result) : std::nullopt;
  }

 private:
  const Variables& variables_;
};

/// How many tasks Slurm's `2(x3),1` says for node `node`; nothing where it says nothing.
std::optional<int> tasks_on_node(std::string_view list, int node) {
  while (!list.empty()) {
    const std::string_view entry = list.substr(0, list.find(','));
    list.remove_prefix(std::min(list.size(), entry.size() + 1));
    int tasks = 0, repeated = 1;
    const char* end = entry.data() + entry.size();
    const auto [stop, error] = std::from_chars(entry.data(), end, tasks);
    if (error != std::errc{}) return std::nullopt;
    if (end - stop > 2) std::from_chars(stop + 2, end, repeated);  // "(x3)"
    if (node < repeated) return tasks;
    node -= repeated;
  }
  return std::nullopt;
}

LaunchEnvironment from(Launcher launcher, std::optional<int> rank, std::optional<int> size,
                       std::optional<int> local_rank, std::optional<int> local_size) {
  return {launcher, rank.value_or(0), std::max(1, size.value_or(1)), local_rank.value_or(0),
          std::max(1, local_size.value_or(1))};
}

}  // namespace

LaunchEnvironment read_launch_environment(const Variables& variables) {
  const VariableReader read(variables);
  if (const auto size = read.number("OMPI_COMM_WORLD_SIZE")) {
    return from(Launcher::mpirun, read.number("OMPI_COMM_WORLD_RANK"), size, read.number("OMPI_COMM_WORLD_LOCAL_RANK"),
                read.number("OMPI_COMM_WORLD_LOCAL_SIZE"));
  }
  // Only a step has this one: SLURM_NTASKS stands in the batch script too, which is one process.
  if (const auto size = read.number("SLURM_STEP_NUM_TASKS")) {
    const auto rank = read.number("PMIX_RANK");
    const auto local_size =
        tasks_on_node(read.text("SLURM_STEP_TASKS_PER_NODE"), read.number("SLURM_NODEID").value_or(0));
    return from(Launcher::srun, rank ? rank : read.number("SLURM_PROCID"), size, read.number("SLURM_LOCALID"),
                local_size);
  }
  if (const auto size = read.number("PMI_SIZE")) {
    return from(Launcher::hydra, read.number("PMI_RANK"), size, read.number("MPI_LOCALRANKID"),
                read.number("MPI_LOCALNRANKS"));
  }
  if (const auto size = read.number("WORLD_SIZE")) {
    return from(Launcher::torchrun, read.number("RANK"), size, read.number("LOCAL_RANK"),
                read.number("LOCAL_WORLD_SIZE"));
  }
  return {};
}

void require_whole_world(const LaunchEnvironment& environment, int mpi_size) {
  if (mpi_size > 1 || environment.size == 1) return;
  const auto refuse = [&](std::string_view who, std::string_view cure) {
    throw CommunicationError(fmt::format("{} {} ranks, but MPI sees only one: {}", who, environment.size, cure));
  };
  switch (environment.launcher) {
    case Launcher::srun:
      return refuse("Slurm started", "start them with srun --mpi=pmix, or with mpirun inside the job");
    case Launcher::torchrun:
      return refuse("WORLD_SIZE says",
                    "ranks of LMNet are started by launch/mpirun or srun --mpi=pmix, not by torchrun; "
                    "to run alone unset WORLD_SIZE");
    case Launcher::mpirun:
    case Launcher::hydra:
    case Launcher::none:
      return refuse("mpirun started", "this mpirun is of another MPI than LMNet was built with; use that one's");
  }
}

}  // namespace lmnet
