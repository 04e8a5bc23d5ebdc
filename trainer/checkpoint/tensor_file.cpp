#include "trainer/checkpoint/tensor_file.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "trainer/checkpoint/crc32c.h"
#include "trainer/checkpoint/errors.h"
#include "trainer/checkpoint/file_io.h"
#include "trainer/checkpoint/hdf5.h"

namespace lmnet {
namespace fs = std::filesystem;
namespace {

constexpr const char* checksum_attribute = "crc32c";
constexpr std::array stored_dtypes = {at::kBFloat16, at::kFloat, at::kDouble, at::kLong};

/// The type in the file and in memory alike: HDF5 never converts (it would be slow, and rounds bf16 differently).
Hdf5Type type_of(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
      return Hdf5Type(H5Tcopy(H5T_IEEE_F32LE));
    case at::kDouble:
      return Hdf5Type(H5Tcopy(H5T_IEEE_F64LE));
    case at::kLong:
      return Hdf5Type(H5Tcopy(H5T_STD_I64LE));
    case at::kBFloat16: {
      // The upper half of a 32-bit float: 1 sign bit, 8 exponent bits, 7 mantissa bits. HDF5 wants this order.
      Hdf5Type type(H5Tcopy(H5T_IEEE_F32LE));
      H5Tset_fields(type.get(), 15, 7, 8, 0, 7);
      H5Tset_precision(type.get(), 16);
      H5Tset_offset(type.get(), 0);
      H5Tset_size(type.get(), 2);
      H5Tset_ebias(type.get(), 127);
      return type;
    }
    default:
      return {};
  }
}

std::span<std::byte> bytes_of(const at::Tensor& tensor) {
  return {static_cast<std::byte*>(tensor.mutable_data_ptr()), tensor.nbytes()};
}

/// Reads `bytes` from `offset` on and returns their CRC, piece by piece so that each is still in the cache.
uint32_t read_with_crc(const FileDescriptor& file, std::span<std::byte> bytes, uint64_t offset) {
  constexpr size_t piece_bytes = size_t{1} << 20;
  uint32_t crc = 0;
  while (!bytes.empty()) {
    const auto piece = bytes.first(std::min(bytes.size(), piece_bytes));
    file.read(piece, offset);
    crc = crc32c(piece, crc);
    bytes = bytes.subspan(piece.size());
    offset += piece.size();
  }
  return crc;
}

FileDigest digest(const FileDescriptor& file) {
  std::vector<std::byte> buffer(size_t{1} << 20);
  FileDigest result{file.size(), 0};
  for (uint64_t offset = 0; offset < result.bytes; offset += buffer.size()) {
    const auto piece = std::span(buffer).first(std::min<uint64_t>(buffer.size(), result.bytes - offset));
    file.read(piece, offset);
    result.crc32c = crc32c(piece, result.crc32c);
  }
  return result;
}

Hdf5Dataset create_dataset(hid_t file, const std::string& name, const at::Tensor& tensor, hid_t type) {
  const std::vector<hsize_t> shape(tensor.sizes().begin(), tensor.sizes().end());
  const Hdf5Space space(shape.empty() ? H5Screate(H5S_SCALAR)
                                      : H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr));
  const Hdf5Properties creation(H5Pcreate(H5P_DATASET_CREATE));
  H5Pset_layout(creation.get(), H5D_CONTIGUOUS);
  H5Pset_alloc_time(creation.get(), H5D_ALLOC_TIME_EARLY);  // the place in the file is fixed: readers go there directly
  H5Pset_fill_time(creation.get(), H5D_FILL_TIME_NEVER);
  return Hdf5Dataset(H5Dcreate2(file, name.c_str(), type, space.get(), H5P_DEFAULT, creation.get(), H5P_DEFAULT));
}

bool write_checksum(hid_t dataset, uint32_t crc) {
  const Hdf5Space space(H5Screate(H5S_SCALAR));
  const Hdf5Attribute attribute(
      H5Acreate2(dataset, checksum_attribute, H5T_STD_U32LE, space.get(), H5P_DEFAULT, H5P_DEFAULT));
  return attribute.valid() && H5Awrite(attribute.get(), H5T_NATIVE_UINT32, &crc) >= 0;
}

}  // namespace

struct TensorFileWriter::Impl {
  fs::path path, temporary;
  Hdf5File file;
  std::vector<StoredTensor> tensors;
  bool finished = false;

  ~Impl() {
    if (finished) {
      return;
    }
    const Hdf5Silence silence;
    // On a full disk this makes room for what HDF5 still wants to write when it closes the file.
    [[maybe_unused]] const int ignored = ::truncate(temporary.c_str(), 0);
    file.close();
    std::error_code error;
    fs::remove(temporary, error);
  }
};

TensorFileWriter::TensorFileWriter(const fs::path& path) {
  require_threadsafe_hdf5();
  const Hdf5Silence silence;
  const auto temporary = temporary_name(path);
  remove_path(temporary);
  Hdf5File file(H5Fcreate(temporary.c_str(), H5F_ACC_EXCL, H5P_DEFAULT, checkpoint_file_access().get()));
  if (!file.valid()) {
    throw_hdf5_error("write", path);
  }
  impl_ = std::make_unique<Impl>();
  impl_->path = path;
  impl_->temporary = temporary;
  impl_->file = std::move(file);
}

TensorFileWriter::~TensorFileWriter() = default;

void TensorFileWriter::add(const std::string& name, const at::Tensor& tensor) {
  const Hdf5Silence silence;
  const auto type = type_of(tensor.scalar_type());
  const auto what = fmt::format("write tensor '{}' into", name);
  if (!type.valid() || name.empty() || name == "." || name.find('/') != std::string::npos) {
    throw CheckpointError(
        fmt::format("cannot {} {}: {}", what, impl_->path.string(),
                    type.valid() ? "a name is not empty and has no '/'"
                                 : fmt::format("dtype {} is not stored", c10::toString(tensor.scalar_type()))));
  }
  const at::Tensor host = tensor.detach().cpu().contiguous();
  const std::span<const std::byte> bytes = bytes_of(host);
  const uint32_t crc = crc32c(bytes);
  const auto dataset = create_dataset(impl_->file.get(), name, host, type.get());
  if (!dataset.valid() ||
      H5Dwrite(dataset.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, host.const_data_ptr()) < 0 ||
      !write_checksum(dataset.get(), crc)) {
    throw_hdf5_error(what, impl_->path);
  }
  impl_->tensors.push_back({name, host.sizes().vec(), host.scalar_type(), crc});
}

TensorFileWriter::Summary TensorFileWriter::finish() {
  const Hdf5Silence silence;
  if (H5Fflush(impl_->file.get(), H5F_SCOPE_GLOBAL) < 0 || !impl_->file.close()) {
    throw_hdf5_error("write", impl_->path);
  }
  FileDescriptor file(impl_->temporary, O_RDWR);
  file.sync();
  const auto [bytes, crc] = digest(file);
  rename_path(impl_->temporary, impl_->path);
  impl_->finished = true;
  sync_folder(impl_->path.parent_path());
  return {bytes, crc, std::move(impl_->tensors)};
}

namespace {

/// A tensor and where its bytes stand in the file.
struct Place {
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

[[noreturn]] void throw_damaged(const fs::path& path, const std::string& name, std::string_view problem) {
  throw CheckpointError(fmt::format("{}: tensor '{}' {}", path.string(), name, problem));
}

at::ScalarType dtype_of(hid_t dataset, const fs::path& path, const std::string& name) {
  const Hdf5Type type(H5Dget_type(dataset));
  for (const auto dtype : stored_dtypes) {
    if (H5Tequal(type.get(), type_of(dtype).get()) > 0) {
      return dtype;
    }
  }
  throw_damaged(path, name, "has a type that is none of bf16, fp32, fp64 and int64");
}

std::vector<int64_t> shape_of(hid_t dataset, const fs::path& path, const std::string& name) {
  const Hdf5Space space(H5Dget_space(dataset));
  const int dimensions = H5Sget_simple_extent_ndims(space.get());
  if (dimensions < 0) {
    throw_damaged(path, name, "has no shape");
  }
  std::vector<hsize_t> shape(static_cast<size_t>(dimensions));
  H5Sget_simple_extent_dims(space.get(), shape.data(), nullptr);
  return {shape.begin(), shape.end()};
}

std::pair<StoredTensor, Place> read_entry(hid_t file, uint64_t file_bytes, const fs::path& path,
                                          const std::string& name) {
  const Hdf5Dataset dataset(H5Dopen2(file, name.c_str(), H5P_DEFAULT));
  if (!dataset.valid()) {
    throw_hdf5_error(fmt::format("read tensor '{}' of", name), path);
  }
  StoredTensor tensor{name, shape_of(dataset.get(), path, name), dtype_of(dataset.get(), path, name), 0};
  const Hdf5Attribute attribute(H5Aopen(dataset.get(), checksum_attribute, H5P_DEFAULT));
  if (!attribute.valid() || H5Aread(attribute.get(), H5T_NATIVE_UINT32, &tensor.crc32c) < 0) {
    throw_damaged(path, name, "has no checksum");
  }
  Place place{0, H5Dget_storage_size(dataset.get())};
  uint64_t expected = c10::elementSize(tensor.dtype);
  for (const int64_t size : tensor.shape) {
    if (__builtin_mul_overflow(expected, static_cast<uint64_t>(size), &expected)) {
      throw_damaged(path, name, "has an impossible shape");
    }
  }
  if (expected == 0) {
    return {std::move(tensor), Place{}};
  }
  const haddr_t offset = H5Dget_offset(dataset.get());
  if (offset == HADDR_UNDEF || place.bytes != expected || offset > file_bytes || expected > file_bytes - offset) {
    throw_damaged(path, name, "does not stand in the file as one whole piece");
  }
  place.offset = offset;
  return {std::move(tensor), place};
}

std::vector<std::string> names_in(hid_t file, const fs::path& path) {
  std::vector<std::string> names;
  const auto take = [](hid_t, const char* name, const H5L_info_t*, void* result) -> herr_t {
    static_cast<std::vector<std::string>*>(result)->emplace_back(name);
    return 0;
  };
  if (H5Literate(file, H5_INDEX_NAME, H5_ITER_INC, nullptr, take, &names) < 0) {
    throw_hdf5_error("read", path);
  }
  return names;
}

}  // namespace

/// HDF5 is used only to find the tensors; their bytes are read at their places, so that several threads may read.
struct TensorFileReader::Impl {
  explicit Impl(const fs::path& file_path) : path(file_path), file(file_path, O_RDONLY) {}

  fs::path path;
  FileDescriptor file;
  std::vector<StoredTensor> tensors;  // by name
  std::vector<Place> places;

  size_t index(const std::string& name) const {
    const auto found = std::ranges::lower_bound(tensors, name, {}, &StoredTensor::name);
    if (found == tensors.end() || found->name != name) {
      throw CheckpointError(fmt::format("{} has no tensor '{}'", path.string(), name));
    }
    return static_cast<size_t>(found - tensors.begin());
  }

  void read(size_t i, const at::Tensor& destination) const {
    if (read_with_crc(file, bytes_of(destination), places[i].offset) != tensors[i].crc32c) {
      throw_damaged(path, tensors[i].name, "is damaged: its bytes do not match their checksum");
    }
  }
};

TensorFileReader::TensorFileReader(const fs::path& path) : impl_(std::make_unique<Impl>(path)) {
  require_threadsafe_hdf5();
  const Hdf5Silence silence;
  const Hdf5File file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, checkpoint_file_access().get()));
  if (!file.valid()) {
    throw_hdf5_error("open", path);
  }
  auto names = names_in(file.get(), path);
  std::ranges::sort(names);
  const uint64_t file_bytes = impl_->file.size();
  for (const auto& name : names) {
    auto [tensor, place] = read_entry(file.get(), file_bytes, path, name);
    impl_->tensors.push_back(std::move(tensor));
    impl_->places.push_back(place);
  }
}

TensorFileReader::~TensorFileReader() = default;
TensorFileReader::TensorFileReader(TensorFileReader&&) noexcept = default;

const std::vector<StoredTensor>& TensorFileReader::tensors() const {
  return impl_->tensors;
}

bool TensorFileReader::contains(const std::string& name) const {
  return std::ranges::binary_search(impl_->tensors, name, {}, &StoredTensor::name);
}

at::Tensor TensorFileReader::read(const std::string& name) const {
  const size_t i = impl_->index(name);
  auto tensor = at::empty(impl_->tensors[i].shape, impl_->tensors[i].dtype);
  impl_->read(i, tensor);
  return tensor;
}

void TensorFileReader::read_into(const std::string& name, at::Tensor destination) const {
  const auto& stored = impl_->tensors[impl_->index(name)];
  if (destination.sizes() != stored.shape) {
    throw_damaged(impl_->path, name,
                  fmt::format("has shape [{}], but [{}] is wanted: the checkpoint belongs to another network",
                              fmt::join(stored.shape, ", "), fmt::join(destination.sizes(), ", ")));
  }
  if (destination.is_cpu() && destination.is_contiguous() && destination.scalar_type() == stored.dtype) {
    impl_->read(impl_->index(name), destination);
  } else {
    const at::NoGradGuard no_grad;
    destination.copy_(read(name));
  }
}

FileDigest digest(const fs::path& path) {
  return digest(FileDescriptor(path, O_RDONLY));
}

}  // namespace lmnet
