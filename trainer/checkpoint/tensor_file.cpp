#include "trainer/checkpoint/tensor_file.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/mman.h>
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

/// Throws with the cause of a failed call, which HDF5 forgets at the next one: even a handle that closes is one.
void require(bool ok, std::string_view action, const fs::path& path) {
  if (!ok) {
    throw_hdf5_error(action, path);
  }
}

void write_dataset(hid_t file, const std::string& name, const at::Tensor& tensor, uint32_t crc, const fs::path& path) {
  const auto action = fmt::format("write tensor '{}' into", name);
  const Hdf5Type type = type_of(tensor.scalar_type());
  const std::vector<hsize_t> shape(tensor.sizes().begin(), tensor.sizes().end());
  const Hdf5Space space(shape.empty() ? H5Screate(H5S_SCALAR)
                                      : H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr));
  const Hdf5Properties creation(H5Pcreate(H5P_DATASET_CREATE));
  H5Pset_layout(creation.get(), H5D_CONTIGUOUS);
  H5Pset_alloc_time(creation.get(), H5D_ALLOC_TIME_EARLY);  // the place in the file is fixed: readers go there directly
  H5Pset_fill_time(creation.get(), H5D_FILL_TIME_NEVER);
  const Hdf5Dataset dataset(
      H5Dcreate2(file, name.c_str(), type.get(), space.get(), H5P_DEFAULT, creation.get(), H5P_DEFAULT));
  require(dataset.valid(), action, path);
  require(H5Dwrite(dataset.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, tensor.const_data_ptr()) >= 0, action,
          path);
  const Hdf5Space one(H5Screate(H5S_SCALAR));
  const Hdf5Attribute attribute(
      H5Acreate2(dataset.get(), checksum_attribute, H5T_STD_U32LE, one.get(), H5P_DEFAULT, H5P_DEFAULT));
  require(attribute.valid(), action, path);
  require(H5Awrite(attribute.get(), H5T_NATIVE_UINT32, &crc) >= 0, action, path);
}

/// Closes a file that nobody wants. HDF5 cannot close one that it cannot complete, as on a full disk, and would try
/// again when the process ends; so what it still wants to write goes to memory.
void discard(Hdf5File& file) {
  void* handle = nullptr;
  const int memory = ::memfd_create("discarded", MFD_CLOEXEC);
  if (memory >= 0) {
    if (file.valid() && H5Fget_vfd_handle(file.get(), H5P_DEFAULT, &handle) >= 0) {
      ::dup2(memory, *static_cast<int*>(handle));
    }
    ::close(memory);
  }
  file.close();
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
    discard(file);
    std::error_code error;
    fs::remove(temporary, error);
  }
};

TensorFileWriter::TensorFileWriter(const fs::path& path) : impl_(std::make_unique<Impl>()) {
  require_threadsafe_hdf5();
  impl_->path = path;
  impl_->temporary = temporary_name(path);
  // HDF5 does not recover from a creation that fails for want of room, so that is tried first.
  FileDescriptor(impl_->temporary, O_WRONLY | O_CREAT | O_TRUNC).write(std::array<std::byte, 4096>{}, 0);
  const Hdf5Silence silence;
  const auto access = checkpoint_file_access();
  impl_->file = Hdf5File(H5Fcreate(impl_->temporary.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get()));
  require(impl_->file.valid(), "write", path);
}

TensorFileWriter::~TensorFileWriter() = default;

void TensorFileWriter::add(const std::string& name, const at::Tensor& tensor) {
  const auto refuse = [&](const std::string& reason) {
    throw CheckpointError(fmt::format("cannot write tensor '{}' into {}: {}", name, impl_->path.string(), reason));
  };
  if (name.empty() || name == "." || name.find('/') != std::string::npos) {
    refuse("a name is not empty and has no '/'");
  }
  if (std::ranges::find(stored_dtypes, tensor.scalar_type()) == stored_dtypes.end()) {
    refuse(fmt::format("dtype {} is not stored", c10::toString(tensor.scalar_type())));
  }
  const Hdf5Silence silence;
  const at::Tensor host = tensor.detach().cpu().contiguous();
  const uint32_t crc = crc32c(bytes_of(host));
  write_dataset(impl_->file.get(), name, host, crc, impl_->path);
  impl_->tensors.push_back({name, host.sizes().vec(), host.scalar_type(), crc});
}

TensorFileWriter::Summary TensorFileWriter::finish() {
  const Hdf5Silence silence;
  require(H5Fflush(impl_->file.get(), H5F_SCOPE_GLOBAL) >= 0 && impl_->file.close(), "write", impl_->path);
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
  require(dataset.valid(), fmt::format("read tensor '{}' of", name), path);
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
  require(H5Literate(file, H5_INDEX_NAME, H5_ITER_INC, nullptr, take, &names) >= 0, "read", path);
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
  const auto access = checkpoint_file_access();
  const Hdf5File file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()));
  require(file.valid(), "open", path);
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
