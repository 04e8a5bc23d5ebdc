#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "parallel/device_backend.h"
#include "parallel/launch_environment.h"

namespace lmnet {

/// Where a rank computes.
struct RankDevice {
  at::Device device = at::kCPU;
  std::shared_ptr<DeviceBackend> backend = nullptr;  // of a GPU; none on the CPU
  /// `NVIDIA H200`; empty for the CPU.
  std::string name() const { return backend ? backend->device_name(device) : ""; }
};

/// The device of this rank by `parallel.device`: auto (a GPU where the machine has an NVIDIA driver and the program its
/// module), cpu or cuda. Of several GPUs it is that of the local rank; where they are fewer than the ranks, as when the
/// launcher shows each rank its own, it counts around. Must come before tensors are made: it opens the module for GPUs,
/// without which a CPU run costs nothing. Throws ConfigError.
RankDevice choose_device(std::string_view wanted, const LaunchEnvironment& environment);

/// The communicator for `parallel.backend`: auto (nccl where all ranks compute on GPUs of their own, else mpi), mpi or
/// nccl. Takes the world of the hosts over. Collective. Throws ConfigError, also where some ranks are on GPUs and some
/// on CPUs.
std::unique_ptr<Communicator> choose_backend(std::string_view wanted, const RankDevice& where,
                                             std::unique_ptr<Communicator> host);

}  // namespace lmnet
