#pragma once
#include <ATen/core/Tensor.h>

#include <cstddef>
#include <span>

namespace lmnet {

/// A large block of host memory that begins at a page and is given back to the system as soon as nobody wants it.
class HostMemory {
 public:
  HostMemory() = default;
  /// Pinned: for copies from a device. Throws CheckpointError where there is not so much.
  HostMemory(size_t bytes, bool pinned);
  ~HostMemory();
  HostMemory(HostMemory&& other) noexcept { *this = std::move(other); }
  HostMemory& operator=(HostMemory&& other) noexcept;

  std::span<std::byte> bytes() const { return bytes_; }

 private:
  std::span<std::byte> bytes_;
  at::Tensor pinned_;  // whose memory it is; undefined where the system's
};

}  // namespace lmnet
