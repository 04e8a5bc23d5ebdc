#pragma once
#include <c10/core/Event.h>

#include <atomic>
#include <map>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "trainer/checkpoint/host_memory.h"
#include "trainer/saving/saved_tensors.h"

namespace lmnet {

/// What a rank gives to a checkpoint. A thread writes it while the next forward and backward run, which change nothing:
/// what comes from the host is written from where it is, and only what is left when the values are to change is copied,
/// so that a disk that is faster than an update costs neither memory nor time. What comes from a device is copied to
/// pinned memory first.
class Snapshot {
 public:
  enum class Copies {
    all,  // of what is left, so that training may go on while it is written
    one,  // at a time, from a device; what is to change waits until all is written
  };
  /// On the thread that trains: what its current stream has to do with the tensors comes before the copy.
  Snapshot(std::vector<SavedTensor> tensors, Copies copies);

  /// On the thread that trains, before a value changes: returns when the tensors themselves are not read any more.
  void before_change();

  /// The bytes of a tensor, none of one that is not written, and its CRC in `tensors()`. On the thread that writes, in
  /// their order; the bytes last until the next call. The CRCs of frozen weights are noted in `known`, and taken from
  /// there where they are not written. Throws CheckpointError where there is no memory for a copy.
  std::span<const std::byte> fetch(size_t tensor, std::map<std::string, uint32_t>& known,
                                   const std::stop_token& asked = {});
  /// Nothing more is fetched. On the thread that writes, whatever came.
  void let_go();

  const std::vector<SavedTensor>& tensors() const { return tensors_; }
  /// The bytes of all of them.
  uint64_t size() const { return size_; }

 private:
  void copy_rest(size_t first, const std::stop_token& asked);
  void copy_from_device(const at::Tensor& source, std::span<std::byte> to) const;

  std::vector<SavedTensor> tensors_;
  Copies copies_;
  std::vector<uint64_t> places_;  // in the memory
  uint64_t size_ = 0, reserved_ = 0;
  uint64_t copied_from_ = 0;  // the place where the memory begins
  bool copied_ = false;       // what is left
  std::atomic<bool> to_change_ = false, let_go_ = false;
  std::optional<c10::Event> before_;  // on a device: what comes before the copy
  HostMemory memory_;
};

}  // namespace lmnet
