#include <ATen/Context.h>
#include <ATen/ops/zeros.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "model/graph/errors.h"
#include "parallel/cuda/nccl_communicator.h"
#include "parallel/device_backend.h"

namespace lmnet {
namespace {

cudaDeviceProp properties(at::Device device) {
  cudaDeviceProp found{};
  C10_CUDA_CHECK(cudaGetDeviceProperties(&found, device.index()));
  return found;
}

/// The first two ranks that have the same device; the same answer at all.
std::optional<std::pair<int, int>> sharing_ranks(Communicator& host, at::Device device) {
  const auto id = properties(device).uuid;
  constexpr int64_t kWords = sizeof(id) / sizeof(int64_t);
  at::Tensor ids = at::zeros({host.size() * kWords}, at::kLong);
  auto* const words = ids.mutable_data_ptr<int64_t>();
  std::memcpy(words + host.rank() * kWords, &id, sizeof(id));
  host.all_gather(ids);
  for (int r = 0; r < host.size(); ++r)
    for (int other = 0; other < r; ++other)
      if (std::equal(words + r * kWords, words + (r + 1) * kWords, words + other * kWords)) return std::pair(other, r);
  return std::nullopt;
}

class CudaBackend final : public DeviceBackend {
 public:
  std::string name() const override {
    int nccl = 0;
    ncclGetVersion(&nccl);
    return fmt::format("CUDA {}.{}, NCCL {}.{}.{}", CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10, nccl / 10000,
                       nccl % 10000 / 100, nccl % 100);
  }

  int count() const override {
    int devices = 0;
    return cudaGetDeviceCount(&devices) == cudaSuccess ? devices : 0;
  }
  std::string trouble() const override {
    int devices = 0;
    const cudaError_t error = cudaGetDeviceCount(&devices);
    cudaGetLastError();  // takes the error away, or the next call would report it
    if (error != cudaSuccess) return cudaGetErrorString(error);
    return devices == 0 ? "this process sees no GPU" : "";
  }

  at::Device use(int index) override {
    at::globalContext().lazyInitDevice(at::kCUDA);
    c10::cuda::set_device(static_cast<c10::DeviceIndex>(index));
    return {at::kCUDA, static_cast<c10::DeviceIndex>(index)};
  }
  std::string device_name(at::Device device) const override { return properties(device).name; }

  DeviceMemory memory(at::Device device) const override {
    const c10::cuda::CUDAGuard guard(device);
    size_t free = 0, total = 0;
    C10_CUDA_CHECK(cudaMemGetInfo(&free, &total));
    const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(device.index());
    const auto& bytes = stats.allocated_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)];
    return {static_cast<int64_t>(total), static_cast<int64_t>(free), bytes.current, bytes.peak};
  }
  void reset_peak(at::Device device) override { c10::cuda::CUDACachingAllocator::resetPeakStats(device.index()); }

  bool own_devices(Communicator& host, at::Device device) const override {
    return !sharing_ranks(host, device).has_value();
  }

  std::unique_ptr<Communicator> world(std::unique_ptr<Communicator> host, at::Device device) override {
    if (const auto sharing = sharing_ranks(*host, device))
      throw ConfigError(
          fmt::format("ranks {} and {} share one GPU, which NCCL cannot do: start one rank for each GPU, "
                      "or set parallel.backend to mpi",
                      sharing->first, sharing->second));
    return std::make_unique<NcclCommunicator>(std::move(host), device);
  }
};

}  // namespace
}  // namespace lmnet

/// The one entry of the module.
extern "C" void lmnet_cuda_backend(std::shared_ptr<lmnet::DeviceBackend>& backend) {
  backend = std::make_shared<lmnet::CudaBackend>();
}
