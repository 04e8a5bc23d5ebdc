#pragma once
#include <functional>
#include <string>

namespace lmnet {

/// What the launcher's environment variables say of this process. Good for what comes before MPI_Init (which GPU) and
/// for checks; MPI itself is what counts after it.
struct LaunchEnvironment {
  enum class Launcher { none, mpirun, srun, hydra, torchrun };
  Launcher launcher = Launcher::none;
  int rank = 0, size = 1;
  int local_rank = 0, local_size = 1;  // among the ranks of this host
};

/// The value of a variable, or null; std::getenv is one.
using Variables = std::function<const char*(const char* name)>;

/// Reads, the first that is there: OMPI_COMM_WORLD_* (mpirun; inside a Slurm job SLURM_* are those of mpirun's own
/// daemons), SLURM_* of a step with PMIX_RANK (srun), PMI_* and MPI_LOCALRANKID (mpirun of an MPICH), RANK, WORLD_SIZE,
/// LOCAL_RANK and LOCAL_WORLD_SIZE (torchrun). A value that is no number counts as absent.
LaunchEnvironment read_launch_environment(const Variables& variables);

/// Throws CommunicationError, with the cure, where MPI sees one rank alone although the launcher started several: each
/// would train by itself and write over the others' files.
void require_whole_world(const LaunchEnvironment& environment, int mpi_size);

}  // namespace lmnet
