#include "trainer/saving/snapshot.h"

#include <ATen/ATen.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "trainer/checkpoint/bulk_file.h"
#include "trainer/checkpoint/crc32c.h"

namespace lmnet {
namespace {

/// Copied at a time, so that its CRC is taken while it is in the processor's cache.
constexpr size_t chunk_bytes = size_t{1} << 18;
/// A change waits until the tensor is written that a fetch has given: larger ones are copied first.
constexpr uint64_t longest_wait_bytes = uint64_t{256} << 20;

std::span<const std::byte> host_bytes(const at::Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()};
}

uint32_t copy_with_crc(std::span<const std::byte> from, std::span<std::byte> to) {
  uint32_t crc = 0;
  for (size_t at = 0; at < from.size(); at += chunk_bytes) {
    const auto chunk = from.subspan(at, std::min(chunk_bytes, from.size() - at));
    std::memcpy(to.data() + at, chunk.data(), chunk.size());
    crc = crc32c(to.subspan(at, chunk.size()), crc);
  }
  return crc;
}

}  // namespace

Snapshot::Snapshot(std::vector<SavedTensor> tensors, Copies copies) : tensors_(std::move(tensors)), copies_(copies) {
  for (const SavedTensor& tensor : tensors_) {
    places_.push_back(reserved_);
    if (!tensor.source.is_cpu() && !before_) {
      const at::Device device = tensor.source.device();
      before_.emplace(device.type());
      before_->record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
    }
    if (tensor.kind.empty()) continue;
    size_ += tensor.what.bytes();
    // Each begins at a page, which files like; small ones stand close.
    const uint64_t unit = tensor.what.bytes() < page_bytes ? 64 : page_bytes;
    reserved_ = (reserved_ + unit - 1) / unit * unit;
    places_.back() = reserved_;
    reserved_ += tensor.what.bytes();
  }
}

void Snapshot::before_change() {
  to_change_ = true;
  let_go_.wait(false);
}

void Snapshot::let_go() {
  if (!copied_)
    for (SavedTensor& tensor : tensors_) tensor.source.reset();
  let_go_ = true;
  let_go_.notify_all();
}

void Snapshot::copy_rest(size_t first, const std::stop_token& asked) {
  copied_ = true;
  copied_from_ = places_[first] / page_bytes * page_bytes;
  memory_ = HostMemory(reserved_ - copied_from_, /*pinned=*/before_.has_value());
  for (size_t i = first; i < tensors_.size() && !asked.stop_requested(); ++i) {
    SavedTensor& tensor = tensors_[i];
    if (tensor.kind.empty()) continue;  // frozen: its memory stays as it is, also when it begins to train
    const std::span to = memory_.bytes().subspan(places_[i] - copied_from_, tensor.what.bytes());
    if (tensor.source.is_cpu()) {
      tensor.what.crc32c = copy_with_crc(host_bytes(tensor.source), to);
    } else {
      copy_from_device(tensor.source, to);
      tensor.what.crc32c = crc32c(to);
    }
    tensor.source.reset();
  }
  let_go();
}

std::span<const std::byte> Snapshot::fetch(size_t i, std::map<std::string, uint32_t>& known,
                                           const std::stop_token& asked) {
  SavedTensor& tensor = tensors_[i];
  const bool long_wait = tensor.what.bytes() > longest_wait_bytes && !tensor.kind.empty();
  if (copies_ == Copies::all && !copied_ && (to_change_ || before_ || long_wait)) copy_rest(i, asked);
  if (tensor.kind.empty()) {
    auto crc = known.find(tensor.what.name);
    if (crc == known.end()) crc = known.emplace(tensor.what.name, crc32c(host_bytes(tensor.source.cpu()))).first;
    tensor.what.crc32c = crc->second;
    return {};
  }
  std::span<const std::byte> bytes;
  if (copied_) {
    bytes = memory_.bytes().subspan(places_[i] - copied_from_, tensor.what.bytes());
  } else if (tensor.source.is_cpu()) {
    bytes = host_bytes(tensor.source);
    tensor.what.crc32c = crc32c(bytes);
  } else {
    memory_ = HostMemory(tensor.what.bytes(), /*pinned=*/true);
    copy_from_device(tensor.source, memory_.bytes());
    bytes = memory_.bytes();
    tensor.what.crc32c = crc32c(bytes);
  }
  if (!tensor.reference.empty()) known[tensor.what.name] = tensor.what.crc32c;
  return bytes;
}

/// Returns when it is there.
void Snapshot::copy_from_device(const at::Tensor& source, std::span<std::byte> to) const {
  const c10::impl::VirtualGuardImpl device(source.device().type());
  const c10::Stream stream = device.getStreamFromGlobalPool(source.device(), /*isHighPriority=*/false);
  before_->block(stream);
  const c10::StreamGuard guard(stream);
  at::from_blob(to.data(), source.sizes(), source.options().device(at::kCPU)).copy_(source);
}

}  // namespace lmnet
