#include "parallel/cuda/nccl_job.h"

#include <ATen/ops/zeros.h>
#include <c10/cuda/CUDAGuard.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>

#include "parallel/pieces.h"

namespace lmnet {
namespace {

/// What errors call each rank: `rank 3 (node7)`.
std::vector<std::string> names_of_ranks(Communicator& world) {
  constexpr int64_t kWords = 8;
  constexpr int64_t kLength = kWords * static_cast<int64_t>(sizeof(int64_t));
  at::Tensor hosts = at::zeros({world.size() * kWords}, at::kLong);
  auto* const text = reinterpret_cast<char*>(hosts.mutable_data_ptr<int64_t>());
  gethostname(text + world.rank() * kLength, kLength - 1);
  world.all_gather(hosts);
  std::vector<std::string> names;
  for (int rank = 0; rank < world.size(); ++rank)
    names.push_back(fmt::format("rank {} ({})", rank, text + rank * kLength));
  return names;
}

}  // namespace

NcclJob::NcclJob(Communicator& world, at::Device device)
    : device_(device),
      alarm_(world.fork()->subgroup({world.rank()})),
      watchdog_(std::make_unique<Watchdog>(names_of_ranks(world), world.rank(),
                                           Watchdog::Hooks{[this] { check(); }, [this] { stop(); }})) {}

NcclJob::Queue NcclJob::new_queue() {
  const std::lock_guard lock(mutex_);
  // Ahead of computing: what arrives early does not keep it waiting later.
  return {queues_++, c10::cuda::getStreamFromPool(/*isHighPriority=*/true, device_.index())};
}

std::shared_ptr<NcclGroup> NcclJob::new_group(Communicator& host) {
  const c10::cuda::CUDAGuard guard(device_);
  auto group = std::make_shared<NcclGroup>(host, *watchdog_);
  const std::lock_guard lock(mutex_);
  std::erase_if(groups_, [](const auto& known) { return known.expired(); });
  groups_.push_back(group);
  return group;
}

void NcclJob::check() {
  alarm_->barrier();
  std::vector<std::shared_ptr<NcclGroup>> groups;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& known : groups_)
      if (auto group = known.lock()) groups.push_back(std::move(group));
  }
  for (const auto& group : groups) group->check();
}

void NcclJob::stop() noexcept {
  const std::lock_guard lock(mutex_);
  for (const auto& known : groups_)
    if (const auto group = known.lock()) group->abort();
}

}  // namespace lmnet
