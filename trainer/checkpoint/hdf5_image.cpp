#include "trainer/checkpoint/hdf5_image.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "trainer/checkpoint/errors.h"

namespace lmnet {
namespace {

struct Stored {
  at::ScalarType dtype;
  const char* name;
};
constexpr std::array<Stored, 4> kStored = {
    {{at::kBFloat16, "bf16"}, {at::kFloat, "fp32"}, {at::kDouble, "fp64"}, {at::kLong, "int64"}}};

/// Throws with the cause of a failed call, which HDF5 forgets at the next one: even a handle that closes is one.
void require(bool ok, const std::string& action, const std::filesystem::path& path) {
  if (!ok) throw_hdf5_error(action, path);
}

FileDescriptor make_memory(const std::filesystem::path& path) {
  const int descriptor = ::memfd_create("lmnet-checkpoint", MFD_CLOEXEC);
  if (descriptor < 0) throw_file_error("lay out", path, errno);
  return {path, FileDescriptor::Open{descriptor}};
}

/// A vector or scalar (`count` 0) of numbers or one text of `count` bytes.
void add_attribute(hid_t dataset, const char* name, hid_t type, const Hdf5Space& space, const void* value,
                   const std::string& action, const std::filesystem::path& path) {
  const Hdf5Attribute attribute(H5Acreate2(dataset, name, type, space.get(), H5P_DEFAULT, H5P_DEFAULT));
  require(attribute.valid(), action, path);
  require(H5Awrite(attribute.get(), type, value) >= 0, action, path);
}

Hdf5Space space_of(const std::vector<int64_t>& shape) {
  const std::vector<hsize_t> sizes(shape.begin(), shape.end());
  return Hdf5Space(sizes.empty() ? H5Screate(H5S_SCALAR)
                                 : H5Screate_simple(static_cast<int>(sizes.size()), sizes.data(), nullptr));
}

}  // namespace

namespace hdf5_layout {

Hdf5Type type_of(at::ScalarType dtype) {
  switch (dtype) {
    case at::kBFloat16:
      return Hdf5Type(H5Tcopy(H5T_STD_U16LE));
    case at::kFloat:
      return Hdf5Type(H5Tcopy(H5T_IEEE_F32LE));
    case at::kDouble:
      return Hdf5Type(H5Tcopy(H5T_IEEE_F64LE));
    case at::kLong:
      return Hdf5Type(H5Tcopy(H5T_STD_I64LE));
    default:
      return {};
  }
}

const char* name_of(at::ScalarType dtype) {
  const auto found = std::ranges::find(kStored, dtype, &Stored::dtype);
  return found == kStored.end() ? nullptr : found->name;
}

at::ScalarType dtype_named(std::string_view name) {
  const auto found = std::ranges::find_if(kStored, [&](const Stored& stored) { return name == stored.name; });
  return found == kStored.end() ? at::ScalarType::Undefined : found->dtype;
}

}  // namespace hdf5_layout

Hdf5Image::Hdf5Image(std::filesystem::path path) : path_(std::move(path)), memory_(make_memory(path_)) {
  require_threadsafe_hdf5();
  const Hdf5Silence silence;
  const auto access = checkpoint_file_access();
  H5Pset_fapl_stdio(access.get());  // of HDF5's drivers this one takes the name below, which leads to no file
  const auto in_memory = fmt::format("/proc/self/fd/{}", memory_.number());
  file_ = Hdf5File(H5Fcreate(in_memory.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get()));
  require(file_.valid(), "lay out", path_);
}

uint64_t Hdf5Image::add(const StoredTensor& tensor) {
  const Hdf5Silence silence;
  const auto action = fmt::format("write tensor '{}' into", tensor.name);
  const Hdf5Type type = hdf5_layout::type_of(tensor.dtype);
  const Hdf5Space space = space_of(tensor.whole() ? tensor.shape : std::vector{tensor.length});
  const Hdf5Properties creation(H5Pcreate(H5P_DATASET_CREATE));
  H5Pset_layout(creation.get(), H5D_CONTIGUOUS);
  H5Pset_alloc_time(creation.get(), H5D_ALLOC_TIME_EARLY);  // the place in the file is fixed from here on
  H5Pset_fill_time(creation.get(), H5D_FILL_TIME_NEVER);
  const Hdf5Dataset dataset(
      H5Dcreate2(file_.get(), tensor.name.c_str(), type.get(), space.get(), H5P_DEFAULT, creation.get(), H5P_DEFAULT));
  require(dataset.valid(), action, path_);
  const auto add = [&](const char* name, hid_t of, const Hdf5Space& extent, const void* value) {
    add_attribute(dataset.get(), name, of, extent, value, action, path_);
  };
  const Hdf5Space one = space_of({});
  const char* dtype = hdf5_layout::name_of(tensor.dtype);
  const Hdf5Type text(H5Tcopy(H5T_C_S1));
  H5Tset_size(text.get(), std::strlen(dtype));
  add(hdf5_layout::kDtype, text.get(), one, dtype);
  add(hdf5_layout::kCrc32c, H5T_STD_U32LE, one, &tensor.crc32c);
  if (!tensor.whole()) {
    add(hdf5_layout::kOffset, H5T_STD_I64LE, one, &tensor.offset);
    add(hdf5_layout::kShape, H5T_STD_I64LE, space_of({static_cast<int64_t>(tensor.shape.size())}), tensor.shape.data());
  }
  if (tensor.length == 0) return 0;
  const haddr_t place = H5Dget_offset(dataset.get());
  require(place != HADDR_UNDEF, action, path_);
  return place;
}

void Hdf5Image::close() {
  const Hdf5Silence silence;
  require(H5Fflush(file_.get(), H5F_SCOPE_GLOBAL) >= 0 && file_.close(), "lay out", path_);
}

}  // namespace lmnet
