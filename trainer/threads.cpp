#include "trainer/threads.h"

#include <ATen/Parallel.h>
#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "trainer/together.h"

namespace lmnet {
namespace {

std::string affinity_mask() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return std::string(std::thread::hardware_concurrency(), '1');
  std::string mask;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) mask += CPU_ISSET(cpu, &set) ? '1' : '0';
  return mask.substr(0, mask.find_last_of('1') + 1);
}

/// `cpu.max` of one group: `200000 100000` is 2; 0 for `max 100000` and where there is none.
double quota_of(const std::string& folder) {
  std::ifstream file(folder + "/cpu.max");
  double time = 0, period = 0;
  return file >> time >> period && period > 0 ? time / period : 0;
}

/// The smallest quota from this process's group up to the root (control groups of version 2).
double cpu_quota(const std::string& proc, const std::string& groups) {
  std::ifstream file(proc);
  std::string path;
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("0::/")) path = line.substr(3);
  double least = quota_of(groups);
  for (; path.size() > 1; path.resize(std::min(path.size(), path.rfind('/')))) {
    const double quota = quota_of(groups + path);
    if (quota > 0 && (least == 0 || quota < least)) least = quota;
  }
  return least;
}

}  // namespace

RankCpus cpus_of_process(std::string host, const std::string& proc, const std::string& groups) {
  return {std::move(host), affinity_mask(), cpu_quota(proc, groups)};
}

int threads_of_rank(std::span<const RankCpus> ranks, size_t rank) {
  const RankCpus& own = ranks[rank];
  const auto on_host = [&](const RankCpus& other) { return other.host == own.host; };
  const auto on_cpus = [&](const RankCpus& other) { return on_host(other) && other.mask == own.mask; };
  auto threads = std::ranges::count(own.mask, '1') / std::ranges::count_if(ranks, on_cpus);
  if (own.quota > 0) {
    const double share = own.quota / static_cast<double>(std::ranges::count_if(ranks, on_host));
    threads = std::min(threads, static_cast<decltype(threads)>(share));
  }
  return static_cast<int>(std::max<int64_t>(1, threads));
}

void share_cores(Communicator& world, std::span<const std::string> hosts) {
  const RankCpus own = cpus_of_process(hosts[world.rank()]);
  std::vector<RankCpus> ranks;
  for (const auto& cpus : gather_json(world, {{"mask", own.mask}, {"quota", own.quota}}))
    ranks.push_back({hosts[ranks.size()], cpus["mask"], cpus["quota"]});
  if (std::getenv("OMP_NUM_THREADS") == nullptr) at::set_num_threads(threads_of_rank(ranks, world.rank()));
}

}  // namespace lmnet
