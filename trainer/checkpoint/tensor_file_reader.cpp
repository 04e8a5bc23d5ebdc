#include "trainer/checkpoint/tensor_file_reader.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <string_view>
#include <utility>

#include "trainer/checkpoint/bulk_file.h"
#include "trainer/checkpoint/crc32c.h"
#include "trainer/checkpoint/errors.h"
#include "trainer/checkpoint/file_io.h"
#include "trainer/checkpoint/hdf5.h"
#include "trainer/checkpoint/hdf5_image.h"

namespace lmnet {
namespace fs = std::filesystem;
namespace {

/// Read at a time, so that it is still in the processor's cache when its CRC is taken.
constexpr size_t piece_bytes = size_t{1} << 20;

uint32_t read_with_crc(const FileDescriptor& file, std::span<std::byte> bytes, uint64_t offset) {
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

/// Throws with the cause of a failed call, which HDF5 forgets at the next one: even a handle that closes is one.
void require(bool ok, std::string_view action, const fs::path& path) {
  if (!ok) throw_hdf5_error(action, path);
}

/// Where the bytes of a tensor stand in the file.
struct Place {
  uint64_t offset = 0, bytes = 0;
};

[[noreturn]] void throw_damaged(const fs::path& path, const std::string& name, std::string_view problem) {
  throw CheckpointError(fmt::format("{}: tensor '{}' {}", path.string(), name, problem));
}

/// A dataset of the file that is being opened.
class Entry {
 public:
  Entry(hid_t file, const fs::path& path, const std::string& name)
      : path_(path), name_(name), dataset_(H5Dopen2(file, name.c_str(), H5P_DEFAULT)) {
    require(dataset_.valid(), fmt::format("read tensor '{}' of", name), path);
  }

  StoredTensor describe() const {
    StoredTensor tensor{name_, dtype(), shape()};
    tensor.length = elements(tensor.shape);
    if (!read_number(hdf5_layout::kCrc32c, H5T_NATIVE_UINT32, &tensor.crc32c))
      throw_damaged(path_, name_, "has no checksum");
    if (read_number(hdf5_layout::kOffset, H5T_NATIVE_INT64, &tensor.offset)) {
      tensor.shape = whole_shape();
      const int64_t all = elements(tensor.shape);
      if (tensor.offset < 0 || tensor.offset > all || tensor.length > all - tensor.offset)
        throw_damaged(path_, name_, "is no piece of a tensor of its shape");
    }
    return tensor;
  }

  Place place(const StoredTensor& tensor, uint64_t file_bytes) const {
    if (tensor.length == 0) return {};
    const haddr_t offset = H5Dget_offset(dataset_.get());
    const uint64_t bytes = tensor.bytes();
    if (offset == HADDR_UNDEF || H5Dget_storage_size(dataset_.get()) != bytes || offset > file_bytes ||
        bytes > file_bytes - offset)
      throw_damaged(path_, name_, "does not stand in the file in one go");
    return {offset, bytes};
  }

 private:
  at::ScalarType dtype() const {
    const Hdf5Attribute attribute = open(hdf5_layout::kDtype);
    const Hdf5Type text(attribute.valid() ? H5Aget_type(attribute.get()) : H5I_INVALID_HID);
    constexpr size_t longest = 16;
    std::string name(text.valid() && H5Tget_class(text.get()) == H5T_STRING ? H5Tget_size(text.get()) : longest, '\0');
    if (name.size() < longest && H5Tis_variable_str(text.get()) == 0 &&
        H5Aread(attribute.get(), text.get(), name.data()) >= 0) {
      const at::ScalarType dtype = hdf5_layout::dtype_named(name);
      const Hdf5Type type(H5Dget_type(dataset_.get()));
      if (dtype != at::ScalarType::Undefined && H5Tequal(type.get(), hdf5_layout::type_of(dtype).get()) > 0)
        return dtype;
    }
    throw_damaged(path_, name_, "has a type that is none of bf16, fp32, fp64 and int64");
  }

  std::vector<int64_t> shape() const {
    const Hdf5Space space(H5Dget_space(dataset_.get()));
    return sizes_of(space, "has no shape");
  }

  std::vector<int64_t> sizes_of(const Hdf5Space& space, const char* problem) const {
    const int dimensions = H5Sget_simple_extent_ndims(space.get());
    if (dimensions < 0) throw_damaged(path_, name_, problem);
    std::vector<hsize_t> sizes(static_cast<size_t>(dimensions));
    H5Sget_simple_extent_dims(space.get(), sizes.data(), nullptr);
    return {sizes.begin(), sizes.end()};
  }

  std::vector<int64_t> whole_shape() const {
    const Hdf5Attribute attribute = open(hdf5_layout::kShape);
    const char* problem = "has no shape of the tensor that it is a piece of";
    if (!attribute.valid()) throw_damaged(path_, name_, problem);
    const auto count = sizes_of(Hdf5Space(H5Aget_space(attribute.get())), problem);
    if (count.size() != 1 || count[0] > H5S_MAX_RANK) throw_damaged(path_, name_, problem);
    std::vector<int64_t> shape(static_cast<size_t>(count[0]));
    if (H5Aread(attribute.get(), H5T_NATIVE_INT64, shape.data()) < 0) throw_damaged(path_, name_, problem);
    return shape;
  }

  int64_t elements(const std::vector<int64_t>& sizes) const {
    int64_t count = 1, bytes = 0;
    for (const int64_t size : sizes)
      if (size < 0 || __builtin_mul_overflow(count, size, &count))
        throw_damaged(path_, name_, "has an impossible shape");
    if (__builtin_mul_overflow(count, int64_t{8}, &bytes)) throw_damaged(path_, name_, "has an impossible shape");
    return count;
  }

  Hdf5Attribute open(const char* attribute) const {
    return Hdf5Attribute(H5Aexists(dataset_.get(), attribute) > 0 ? H5Aopen(dataset_.get(), attribute, H5P_DEFAULT)
                                                                  : H5I_INVALID_HID);
  }

  /// False where there is no such number.
  bool read_number(const char* name, hid_t type, void* value) const {
    const Hdf5Attribute attribute = open(name);
    if (!attribute.valid()) return false;
    const Hdf5Space space(H5Aget_space(attribute.get()));
    return H5Sget_simple_extent_npoints(space.get()) == 1 && H5Aread(attribute.get(), type, value) >= 0;
  }

  const fs::path& path_;
  const std::string& name_;
  Hdf5Dataset dataset_;
};

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
    if (found == tensors.end() || found->name != name)
      throw CheckpointError(fmt::format("{} has no tensor '{}'", path.string(), name));
    return static_cast<size_t>(found - tensors.begin());
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
    const Entry entry(file.get(), path, name);
    impl_->tensors.push_back(entry.describe());
    impl_->places.push_back(entry.place(impl_->tensors.back(), file_bytes));
  }
}

TensorFileReader::~TensorFileReader() = default;
TensorFileReader::TensorFileReader(TensorFileReader&&) noexcept = default;

const std::vector<StoredTensor>& TensorFileReader::tensors() const {
  return impl_->tensors;
}

const StoredTensor& TensorFileReader::tensor(const std::string& name) const {
  return impl_->tensors[impl_->index(name)];
}

at::Tensor TensorFileReader::read(const std::string& name) const {
  const size_t i = impl_->index(name);
  const StoredTensor& stored = impl_->tensors[i];
  const at::Tensor tensor = at::empty(stored.whole() ? stored.shape : std::vector{stored.length}, stored.dtype);
  const std::span bytes(static_cast<std::byte*>(tensor.mutable_data_ptr()), tensor.nbytes());
  if (read_with_crc(impl_->file, bytes, impl_->places[i].offset) != stored.crc32c)
    throw_damaged(impl_->path, name, "is damaged: its bytes do not match their checksum");
  return tensor;
}

FileDigest digest(const fs::path& path) {
  BulkFile file(path, BulkFile::Access::read);
  const Pages buffer = make_pages(piece_bytes);
  FileDigest result{file.size(), 0};
  for (uint64_t offset = 0; offset < result.bytes; offset += piece_bytes) {
    const std::span piece(buffer.get(), std::min<uint64_t>(piece_bytes, result.bytes - offset));
    file.read(piece, offset);
    result.crc32c = crc32c(piece, result.crc32c);
  }
  return result;
}

}  // namespace lmnet
