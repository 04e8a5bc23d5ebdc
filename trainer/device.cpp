#include "trainer/device.h"

#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include <filesystem>
#include <stdexcept>
#include <utility>

#include "model/graph/errors.h"

namespace lmnet {
namespace {

constexpr const char* kWayOut = "set parallel.device to cpu, or auto";

std::shared_ptr<DeviceBackend> open_module() {
  const auto module = cuda_module_path();
  if (!std::filesystem::exists(module))
    throw ConfigError(
        fmt::format("parallel.device is cuda, and this program was built without CUDA: {} is not there; "
                    "build it where a CUDA toolkit 13 is, or {}",
                    module.string(), kWayOut));
  try {
    return open_cuda_backend(module);
  } catch (const std::runtime_error& error) {
    throw ConfigError(
        fmt::format("parallel.device is cuda, and a library for it does not load: {}; call launch/setup "
                    "where the CUDA toolkit is, or {}",
                    error.what(), kWayOut));
  }
}

/// Whether all ranks say yes, none, or some.
enum class Agreement { none, some, all };

Agreement agreement(Communicator& host, bool yes) {
  at::Tensor count = at::tensor({int64_t{yes}}, at::kLong);
  host.all_reduce(count);
  const auto sum = count.item<int64_t>();
  return sum == 0 ? Agreement::none : sum == host.size() ? Agreement::all : Agreement::some;
}

}  // namespace

RankDevice choose_device(std::string_view wanted, const LaunchEnvironment& environment) {
  if (wanted == "cpu") return {};
  const bool automatic = wanted == "auto";
  // A machine without a driver must not pay for the libraries of CUDA.
  if (!has_nvidia_driver()) {
    if (automatic) return {};
    throw ConfigError(fmt::format("parallel.device is cuda, and this machine has no NVIDIA driver; {}", kWayOut));
  }
  if (automatic && !std::filesystem::exists(cuda_module_path())) return {};
  std::shared_ptr<DeviceBackend> backend = open_module();
  const int count = backend->count();
  if (count == 0) {
    if (automatic) return {};
    throw ConfigError(
        fmt::format("parallel.device is cuda, and there is no GPU ({}); look at nvidia-smi and at "
                    "CUDA_VISIBLE_DEVICES, or {}",
                    backend->trouble(), kWayOut));
  }
  return {backend->use(environment.local_rank % count), backend};
}

std::unique_ptr<Communicator> choose_backend(std::string_view wanted, const RankDevice& where,
                                             std::unique_ptr<Communicator> host) {
  const Agreement on_gpu = agreement(*host, where.backend != nullptr);
  if (on_gpu == Agreement::some)
    throw ConfigError(fmt::format("rank {} computes on {}, other ranks do not: set parallel.device to cpu or cuda",
                                  host->rank(), where.backend ? "a GPU" : "the CPU"));
  if (wanted == "nccl" && on_gpu == Agreement::none)
    throw ConfigError(
        "parallel.backend is nccl, which needs GPUs, and parallel.device gives the CPU: set the backend "
        "to mpi, or auto");
  if (on_gpu == Agreement::none || wanted == "mpi") return host;
  if (wanted == "auto" && !where.backend->own_devices(*host, where.device)) return host;
  return where.backend->world(std::move(host), where.device);
}

}  // namespace lmnet
