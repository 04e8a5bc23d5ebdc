#include "parallel/staging.h"

#include <ATen/ATen.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace lmnet {

Staging::Staging(at::Tensor tensor) : tensor_(std::move(tensor)), host_(tensor_.is_cpu() ? tensor_ : at::Tensor()) {
  if (needed()) {
    const c10::impl::VirtualGuardImpl device(tensor_.device().type());
    stream_ = device.getStreamFromGlobalPool(tensor_.device(), /*isHighPriority=*/true);
    event_.emplace(tensor_.device().type());
    event_->record(device.getStream(tensor_.device()));
  }
}

void Staging::begin() {
  host_ = at::empty(tensor_.sizes(), tensor_.options().device(at::kCPU).pinned_memory(true));
}

void Staging::copy_out(int64_t first, int64_t count) {
  event_->block(*stream_);
  const c10::StreamGuard guard(*stream_);
  host_.view(-1).narrow(0, first, count).copy_(tensor_.view(-1).narrow(0, first, count), /*non_blocking=*/true);
  event_->record(*stream_);
}

bool Staging::copied() const {
  return event_->query();
}

void Staging::copy_back(int64_t first, int64_t count) {
  const c10::StreamGuard guard(*stream_);
  tensor_.view(-1).narrow(0, first, count).copy_(host_.view(-1).narrow(0, first, count), /*non_blocking=*/true);
  event_->record(*stream_);
  // The caching allocators keep both until the copy is done.
  tensor_.record_stream(*stream_);
  tensor_ = at::Tensor();
  host_ = at::Tensor();
  brought_back_ = true;
}

void Staging::join() const {
  if (brought_back_) {
    const c10::impl::VirtualGuardImpl device(stream_->device_type());
    event_->block(device.getStream(stream_->device()));
  }
}

}  // namespace lmnet
