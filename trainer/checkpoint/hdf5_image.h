#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "trainer/checkpoint/file_io.h"
#include "trainer/checkpoint/hdf5.h"
#include "trainer/checkpoint/stored_tensor.h"

namespace lmnet {

/// What an HDF5 file has besides the bytes of its datasets. HDF5 lays the file out in memory (sparse, where the
/// datasets never come to be); who writes the file puts both together. So HDF5 never meets a full disk, from which it
/// does not recover, and does nothing while bytes are written.
class Hdf5Image {
 public:
  /// `path`: that of the file, for errors. Throws CheckpointError, as all do.
  explicit Hdf5Image(std::filesystem::path path);

  /// Adds a contiguous dataset with its attributes (docs/checkpoint-format.md); returns where its bytes stand.
  uint64_t add(const StoredTensor& tensor);
  /// After the last one.
  void close();

  /// The size of the file, once closed.
  uint64_t size() const { return memory_.size(); }
  void read(std::span<std::byte> bytes, uint64_t offset) const { memory_.read(bytes, offset); }

 private:
  std::filesystem::path path_;
  FileDescriptor memory_;
  Hdf5File file_;
};

/// The attributes of a dataset that say what it holds, and how it stands in a file.
namespace hdf5_layout {
inline constexpr const char* kDtype = "dtype";    // text: bf16, fp32, fp64 or int64
inline constexpr const char* kCrc32c = "crc32c";  // 32-bit
// Of a part of a tensor only: which element of it comes first, and the shape of the tensor.
inline constexpr const char* kOffset = "offset";
inline constexpr const char* kShape = "shape";

/// The type in the file and in memory alike (HDF5 never converts: it would be slow, and rounds bf16 differently); bf16
/// stands there as its 16 bits. Invalid for a dtype that is not stored.
Hdf5Type type_of(at::ScalarType dtype);
const char* name_of(at::ScalarType dtype);
/// Undefined for another name.
at::ScalarType dtype_named(std::string_view name);
}  // namespace hdf5_layout

}  // namespace lmnet
