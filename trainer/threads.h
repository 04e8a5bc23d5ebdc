#pragma once
#include <span>
#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace lmnet {

/// What a rank may compute on.
struct RankCpus {
  std::string host;
  std::string mask;  // the CPUs that it may run on, one character each: 1 or 0
  double quota = 0;  // CPUs' worth of time that its control group allows; 0 = no limit
};

/// This process's CPUs, by its affinity mask and the control groups that the files under `proc` and `groups` tell of.
RankCpus cpus_of_process(std::string host, const std::string& proc = "/proc/self/cgroup",
                         const std::string& groups = "/sys/fs/cgroup");

/// Threads for `rank`: ranks of one host that may run on the same CPUs share them, and all ranks of a host its quota.
/// At least 1.
int threads_of_rank(std::span<const RankCpus> ranks, size_t rank);

/// Gives this process its share of the host's cores for computing, unless OMP_NUM_THREADS says how many threads to use.
/// `hosts`: of all ranks. Collective.
void share_cores(Communicator& world, std::span<const std::string> hosts);

}  // namespace lmnet
