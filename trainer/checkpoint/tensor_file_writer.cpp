#include "trainer/checkpoint/tensor_file_writer.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "trainer/checkpoint/bulk_file.h"
#include "trainer/checkpoint/crc32c.h"
#include "trainer/checkpoint/errors.h"
#include "trainer/checkpoint/file_io.h"
#include "trainer/checkpoint/hdf5_image.h"

namespace lmnet {
namespace fs = std::filesystem;

struct TensorFileWriter::Impl {
  explicit Impl(const fs::path& file_path)
      : path(file_path), temporary(temporary_name(file_path)), image(path), file(temporary, BulkFile::Access::write) {}

  /// Where the bytes of a dataset stand.
  struct Place {
    uint64_t offset, bytes;
    uint32_t crc32c;
  };

  fs::path path, temporary;
  Hdf5Image image;
  BulkFile file;
  std::vector<StoredTensor> tensors;
  std::vector<Place> places;
  bool finished = false;

  ~Impl() {
    std::error_code ignored;
    if (!finished) fs::remove(temporary, ignored);
  }

  uint32_t write_rest();
};

TensorFileWriter::TensorFileWriter(const fs::path& path) : impl_(std::make_unique<Impl>(path)) {}
TensorFileWriter::~TensorFileWriter() = default;
TensorFileWriter::TensorFileWriter(TensorFileWriter&&) noexcept = default;

void TensorFileWriter::add(const std::string& name, const at::Tensor& tensor) {
  const at::Tensor host = tensor.detach().cpu().contiguous();
  const std::span bytes(static_cast<const std::byte*>(host.const_data_ptr()), host.nbytes());
  add({name, host.scalar_type(), host.sizes().vec(), 0, host.numel(), crc32c(bytes)}, bytes);
}

void TensorFileWriter::add(const StoredTensor& tensor, std::span<const std::byte> bytes) {
  const std::string& name = tensor.name;
  const auto refuse = [&](const std::string& reason) {
    throw CheckpointError(fmt::format("cannot write tensor '{}' into {}: {}", name, impl_->path.string(), reason));
  };
  if (name.empty() || name == "." || name.find('/') != std::string::npos) refuse("a name is not empty and has no '/'");
  if (hdf5_layout::name_of(tensor.dtype) == nullptr)
    refuse(fmt::format("dtype {} is not stored", c10::toString(tensor.dtype)));
  const uint64_t offset = impl_->image.add(tensor);
  impl_->tensors.push_back(tensor);
  if (bytes.empty()) return;
  impl_->places.push_back({offset, bytes.size(), tensor.crc32c});
  impl_->file.write(bytes, offset);
}

/// Writes what lies between the tensors, and returns the CRC of the whole file.
uint32_t TensorFileWriter::Impl::write_rest() {
  std::ranges::sort(places, {}, &Place::offset);
  places.push_back({image.size(), 0, 0});
  uint32_t crc = 0;
  uint64_t end = 0;
  std::vector<std::byte> between;
  for (const Place& place : places) {
    between.resize(place.offset - end);
    image.read(between, end);
    file.write(between, end);
    crc = crc32c(between, crc);
    crc = crc32c_join(crc, place.crc32c, place.bytes);
    end = place.offset + place.bytes;
  }
  return crc;
}

TensorFileWriter::Summary TensorFileWriter::finish() {
  impl_->image.close();
  const uint32_t crc = impl_->write_rest();
  impl_->file.sync();
  const uint64_t bytes = impl_->file.size();
  rename_path(impl_->temporary, impl_->path);
  impl_->finished = true;
  sync_folder(impl_->path.parent_path());
  return {bytes, crc, std::move(impl_->tensors)};
}

}  // namespace lmnet
