#pragma once
#include <ATen/core/Tensor.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lmnet {

/// What a rank computes on and sends over. Bandwidths are of one direction.
struct DeviceSpec {
  std::string name;
  double bf16 = 0, fp32 = 0, fp64 = 0;  // FLOP/s of dense products, at best
  double share = 0.5;                   // of it that large products of a training step reach
  double memory = 0;                    // bytes for one rank; 0 = not known
  double reserved = 0;                  // of it that the driver and its libraries take
  double memory_bandwidth = 0;          // bytes/s
  double link = 0, local_link = 0;      // bytes/s of a rank to other hosts, and to ranks of its host
  double latency = 0;                   // seconds until an exchange has begun
  int ranks_per_host = 1;

  bool gpu() const { return name != "cpu"; }
  double flops(at::ScalarType dtype) const;
};

/// A device by its name, and what the user knows better; 0 = as the device has it.
struct MachineOptions {
  std::string device;                              // empty: cpu
  double link_bandwidth = 0, local_bandwidth = 0;  // GB/s
  int ranks_per_host = 0;
};

/// Stands for a GPU of which nothing is known.
inline constexpr const char* kUsualGpu = "h200";

/// What a run's ranks run on: `gpu` as its driver calls it (`NVIDIA H200`; empty: the CPU), and as many ranks a host as
/// there are on the first of `hosts`, which has one name for each rank.
MachineOptions machine_of(std::string_view gpu, std::span<const std::string> hosts);

/// Throws ConfigError that lists the names.
DeviceSpec device_spec(const MachineOptions& machine);
/// `cpu`, `a100`, …
std::vector<std::string> device_names();

}  // namespace lmnet
