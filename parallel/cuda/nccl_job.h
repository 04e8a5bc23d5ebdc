#pragma once
#include <c10/core/Device.h>
#include <c10/cuda/CUDAStream.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "parallel/cuda/nccl_group.h"

namespace lmnet {

/// What all NCCL communicators of a rank share: its device and its watchdog, which ends all of them together.
class NcclJob {
 public:
  /// One order of collectives: a stream on which they follow each other.
  struct Queue {
    int number;
    c10::cuda::CUDAStream stream;
  };

  /// Collective over `world`, of which it takes a queue for itself.
  NcclJob(Communicator& world, at::Device device);

  at::Device device() const { return device_; }
  Watchdog& watchdog() { return *watchdog_; }
  Queue new_queue();
  /// NCCL's communicator over the ranks of `host`. Collective.
  std::shared_ptr<NcclGroup> new_group(Communicator& host);

 private:
  void check();
  void stop() noexcept;

  at::Device device_;
  std::unique_ptr<Communicator> alarm_;  // this rank alone: whoever waits there hears of failures elsewhere
  std::mutex mutex_;                     // of the next two
  int queues_ = 0;
  std::vector<std::weak_ptr<NcclGroup>> groups_;
  std::unique_ptr<Watchdog> watchdog_;  // last: its thread uses all of the above
};

}  // namespace lmnet
