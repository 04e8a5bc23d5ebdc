#include "trainer/cost/device_spec.h"

#include <ATen/cpu/Utils.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>

#include "model/graph/errors.h"
#include "trainer/config/config.h"

namespace lmnet {
namespace {

constexpr double kTera = 1e12, kGiga = 1e9, kGibi = 1 << 30;

/// A GPU beside seven others in a host, with a network card of its own.
DeviceSpec gpu(const char* name, double bf16, double fp32, double fp64, double share, double memory, double bandwidth,
               double link, double local_link) {
  return {.name = name,
          .bf16 = bf16 * kTera,
          .fp32 = fp32 * kTera,
          .fp64 = fp64 * kTera,
          .share = share,
          .memory = memory * kGibi,
          .reserved = kGibi,
          .memory_bandwidth = bandwidth * kGiga,
          .link = link * kGiga,
          .local_link = local_link * kGiga,
          .latency = 20e-6,
          .ranks_per_host = 8};
}

/// One thread of a processor of this machine's kind, two ranks a host on 10 Gb/s: measured on Xeons with AMX and EPYCs
/// without.
DeviceSpec cpu() {
  return {.name = "cpu",
          .bf16 = (at::cpu::init_amx() ? 0.8 : 0.2) * kTera,
          .fp32 = 0.12 * kTera,
          .fp64 = 0.06 * kTera,
          .share = 0.5,
          .memory_bandwidth = 10 * kGiga,
          .link = 1.25 * kGiga,
          .local_link = 4 * kGiga,
          .latency = 100e-6,
          .ranks_per_host = 2};
}

/// NVIDIA's data sheets (whose GB of device memory are GiB): dense bf16 and fp64 on tensor cores, fp32 without TF32;
/// NVLink in one direction; network cards as in DGX systems, 200 Gb/s beside A100, 400 Gb/s since. The share is what
/// published training runs reach between exchanges: 0.5 to 0.55 of an A100 (Megatron-LM, arXiv 2104.04473), 0.4 to 0.5
/// of later ones (Llama 3, arXiv 2407.21783), whose memory grew less than their products.
std::vector<DeviceSpec> devices() {
  return {cpu(), gpu("a100", 312, 19.5, 19.5, 0.55, 80, 2039, 25, 300),
          gpu("h100", 989, 67, 67, 0.45, 80, 3350, 50, 450), gpu("h200", 989, 67, 67, 0.45, 141, 4800, 50, 450),
          gpu("b200", 2250, 75, 37, 0.4, 180, 8000, 50, 900)};
}

double memory_of_this_machine() {
  return static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

}  // namespace

double DeviceSpec::flops(at::ScalarType dtype) const {
  return dtype == at::kBFloat16 ? bf16 : dtype == at::kFloat ? fp32 : fp64;
}

std::vector<std::string> device_names() {
  std::vector<std::string> names;
  for (const DeviceSpec& device : devices()) names.push_back(device.name);
  return names;
}

MachineOptions machine_of(std::string_view gpu, std::span<const std::string> hosts) {
  MachineOptions machine;
  if (!gpu.empty()) {
    std::string name(gpu);
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    machine.device = kUsualGpu;
    for (const std::string& known : device_names())
      if (name.find(known) != std::string::npos) machine.device = known;
  }
  machine.ranks_per_host = static_cast<int>(std::count(hosts.begin(), hosts.end(), hosts.front()));
  return machine;
}

DeviceSpec device_spec(const MachineOptions& machine) {
  const std::string name = machine.device.empty() ? "cpu" : machine.device;
  const std::vector<DeviceSpec> known = devices();
  const auto found =
      std::find_if(known.begin(), known.end(), [&](const DeviceSpec& device) { return device.name == name; });
  if (found == known.end()) {
    const std::vector<std::string> names = device_names();
    const std::string near = nearest(name, names);
    throw ConfigError(fmt::format("--device {} is unknown{}; there are: {}", name,
                                  near.empty() ? "" : fmt::format(", did you mean {}?", near), fmt::join(names, ", ")));
  }
  DeviceSpec device = *found;
  if (machine.link_bandwidth > 0) device.link = machine.link_bandwidth * kGiga;
  if (machine.local_bandwidth > 0) device.local_link = machine.local_bandwidth * kGiga;
  if (machine.ranks_per_host > 0) device.ranks_per_host = machine.ranks_per_host;
  // The ranks of a host share its memory.
  if (device.memory == 0) device.memory = memory_of_this_machine() / device.ranks_per_host;
  return device;
}

}  // namespace lmnet
