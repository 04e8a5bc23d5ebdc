#include "trainer/checkpoint/host_memory.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include <exception>
#include <utility>

#include "trainer/checkpoint/errors.h"

namespace lmnet {
namespace {

[[noreturn]] void throw_no_memory(size_t bytes) {
  throw CheckpointError(fmt::format(
      "there is no memory for a copy of {:.3f} GiB; with checkpoint.ahead: 0 one tensor is copied at a time",
      static_cast<double>(bytes) / (size_t{1} << 30)));
}

}  // namespace

HostMemory::HostMemory(size_t bytes, bool pinned) {
  if (bytes == 0) return;
  if (pinned) {
    try {
      pinned_ = at::empty({static_cast<int64_t>(bytes)}, at::TensorOptions(at::kByte).pinned_memory(true));
    } catch (const std::exception&) {
      throw_no_memory(bytes);
    }
    bytes_ = {static_cast<std::byte*>(pinned_.mutable_data_ptr()), bytes};
    return;
  }
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw_no_memory(bytes);
  ::madvise(memory, bytes, MADV_HUGEPAGE);  // a few page faults instead of hundreds of thousands, where it can be
  bytes_ = {static_cast<std::byte*>(memory), bytes};
}

HostMemory::~HostMemory() {
  if (!bytes_.empty() && !pinned_.defined()) ::munmap(bytes_.data(), bytes_.size());
}

HostMemory& HostMemory::operator=(HostMemory&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  std::swap(pinned_, other.pinned_);
  return *this;
}

}  // namespace lmnet
