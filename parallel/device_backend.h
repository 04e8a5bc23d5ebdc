#pragma once
#include <c10/core/Device.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "parallel/communicator.h"

namespace lmnet {

/// Bytes of a device's memory.
struct DeviceMemory {
  int64_t total = 0, free = 0;      // of the whole device, all processes together
  int64_t allocated = 0, peak = 0;  // in tensors of this process, now and at most
};

/// What a program can do with the accelerators of its machine. The rooms know only this: the code behind it is in a
/// loadable module, so that a program runs where there are none.
class DeviceBackend {
 public:
  virtual ~DeviceBackend() = default;

  /// What it is, for people: `CUDA 13.0, NCCL 2.28.9`.
  virtual std::string name() const = 0;

  /// How many devices this process sees.
  virtual int count() const = 0;
  /// Why count() is 0; empty when it is not.
  virtual std::string trouble() const = 0;

  /// Makes device `index`, below count(), the one of this process and says which it is. Before tensors are made on it.
  virtual at::Device use(int index) = 0;
  /// `NVIDIA H200`.
  virtual std::string device_name(at::Device device) const = 0;

  virtual DeviceMemory memory(at::Device device) const = 0;
  virtual void reset_peak(at::Device device) = 0;

  /// Whether no two ranks have the same device. Collective, the same answer at all.
  virtual bool own_devices(Communicator& host, at::Device device) const = 0;

  /// A communicator over the ranks of `host` whose collectives of tensors on `device` go from device to device. It
  /// takes `host` over: tensors on the host and whatever only steers still go there. Collective; every rank must have a
  /// device of its own. Throws ConfigError where two share one, CommunicationError.
  virtual std::unique_ptr<Communicator> world(std::unique_ptr<Communicator> host, at::Device device) = 0;
};

/// Whether the machine has NVIDIA's driver loaded: looks for its device nodes and opens nothing.
bool has_nvidia_driver();

/// Opens the module for NVIDIA GPUs, which then stays in the process. Must come before the first operator of LibTorch
/// that asks for GPUs: that one's answer stays. Throws std::runtime_error that says why not.
std::shared_ptr<DeviceBackend> open_cuda_backend(const std::filesystem::path& module);

/// Where the module lies: beside this program.
std::filesystem::path cuda_module_path();

}  // namespace lmnet
