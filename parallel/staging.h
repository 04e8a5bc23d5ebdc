#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>

#include <memory>
#include <optional>

namespace lmnet {

/// A tensor of a collective as the transport sees it: a host tensor is itself; a tensor of a device has a copy in
/// pinned memory, filled and brought back on a stream of its own. No call waits for the device.
class Staging {
 public:
  /// On the thread that starts the collective: what its current stream has to do with the tensor comes first.
  explicit Staging(at::Tensor tensor);

  /// Whether there is something to copy.
  bool needed() const { return !tensor_.is_cpu(); }
  const at::Tensor& tensor() const { return tensor_; }
  /// What moves; that of a device tensor is there after begin().
  const at::Tensor& host() const { return host_; }

  /// Makes the copy, not yet filled.
  void begin();
  /// Submits the copy of `count` elements (of all, seen as 1-D) to the host. copied() says when they are there.
  void copy_out(int64_t first, int64_t count);
  bool copied() const;
  /// Submits the way back and forgets the tensors. copied() says when it has come to an end.
  void copy_back(int64_t first, int64_t count);
  /// Lets the current stream of the calling thread wait for what copy_back() has submitted.
  void join() const;

 private:
  at::Tensor tensor_, host_;
  std::optional<c10::Stream> stream_;
  std::optional<c10::Event> event_;  // before: the caller's stream; later the copies
  bool brought_back_ = false;
};

}  // namespace lmnet
