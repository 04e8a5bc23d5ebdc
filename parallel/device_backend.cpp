#include "parallel/device_backend.h"

#include <dlfcn.h>

#include <stdexcept>

namespace lmnet {

bool has_nvidia_driver() {
  namespace fs = std::filesystem;
  std::error_code ignored;
  // The last is what a Linux inside Windows has.
  for (const char* node : {"/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg"})
    if (fs::exists(node, ignored)) return true;
  return false;
}

std::filesystem::path cuda_module_path() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / "liblmnet_cuda.so";
}

std::shared_ptr<DeviceBackend> open_cuda_backend(const std::filesystem::path& module) {
  void* const handle = dlopen(module.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (handle == nullptr) throw std::runtime_error(dlerror());
  using Make = void (*)(std::shared_ptr<DeviceBackend>&);
  const auto make = reinterpret_cast<Make>(dlsym(handle, "lmnet_cuda_backend"));
  if (make == nullptr) throw std::runtime_error(dlerror());
  std::shared_ptr<DeviceBackend> backend;
  make(backend);
  return backend;
}

}  // namespace lmnet
