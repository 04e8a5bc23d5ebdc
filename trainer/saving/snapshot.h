#pragma once
#include <c10/core/Event.h>

#include <map>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "trainer/checkpoint/host_memory.h"
#include "trainer/saving/saved_tensors.h"

namespace lmnet {

/// What a rank gives to a checkpoint, in host memory (pinned where it comes from a device).
class Snapshot {
 public:
  enum class Copies {
    all,  // so that training may go on while it is written
    one,  // at a time; nothing changes meanwhile
  };
  /// On the thread that trains: what its current stream has to do with the tensors comes before the copy.
  Snapshot(std::vector<SavedTensor> tensors, Copies copies);

  /// Copies what is to be copied at once. On any thread; ends early when asked to stop. Throws CheckpointError where
  /// there is no memory for it.
  void take(const std::stop_token& asked);

  /// The bytes of a tensor, none of one that is not written, and its CRC in `tensors()`; after take(). The CRCs of
  /// frozen weights are noted in `known`, and taken from there where they are not written. They last until the next
  /// call where one is copied at a time.
  std::span<const std::byte> fetch(size_t tensor, std::map<std::string, uint32_t>& known);

  const std::vector<SavedTensor>& tensors() const { return tensors_; }
  /// The bytes of all of them.
  uint64_t size() const { return size_; }

 private:
  void copy_from_device(const at::Tensor& source, std::span<std::byte> to) const;

  std::vector<SavedTensor> tensors_;
  Copies copies_;
  std::vector<uint64_t> places_;  // in the memory
  uint64_t size_ = 0;
  uint64_t reserved_ = 0;
  std::optional<c10::Event> before_;  // on a device: what comes before the copy
  HostMemory memory_;
};

}  // namespace lmnet
