#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace lmnet {

/// A tensor in a file: its canonical name (`edges.1.0-3.fc.bias`), shape, dtype and the CRC-32C of its bytes.
struct StoredTensor {
  std::string name;
  std::vector<int64_t> shape;
  at::ScalarType dtype;
  uint32_t crc32c;
};

/// Writes whole tensors into one HDF5 file: contiguous datasets named as the tensors, whose raw bytes are never
/// converted (bf16 is a 16-bit float type of its own), each with the attribute `crc32c`. The file appears under its
/// name only after finish(); a writer that is destroyed earlier leaves nothing behind. Throws CheckpointError.
class TensorFileWriter {
 public:
  explicit TensorFileWriter(const std::filesystem::path& path);
  ~TensorFileWriter();
  TensorFileWriter(const TensorFileWriter&) = delete;
  TensorFileWriter& operator=(const TensorFileWriter&) = delete;

  /// `tensor` is a host tensor of any shape (bf16, fp32, fp64 or int64), copied out before the call returns.
  void add(const std::string& name, const at::Tensor& tensor);

  struct Summary {
    uint64_t bytes;   // of the file
    uint32_t crc32c;  // of the file
    std::vector<StoredTensor> tensors;
  };
  /// Closes, fsyncs and renames the file into place.
  Summary finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Reads tensors of such a file by name, checking each one's CRC; several threads may read at once. Throws
/// CheckpointError naming file and tensor.
class TensorFileReader {
 public:
  explicit TensorFileReader(const std::filesystem::path& path);
  ~TensorFileReader();
  TensorFileReader(TensorFileReader&&) noexcept;

  /// In the order of their names.
  const std::vector<StoredTensor>& tensors() const;
  at::Tensor read(const std::string& name) const;
  /// Fills `destination` (same shape): straight if it is a contiguous host tensor of the same dtype, else by copying,
  /// which converts the dtype. After an error its values are undefined.
  void read_into(const std::string& name, at::Tensor destination) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// CRC-32C (Castagnoli) of a whole file, and its size in bytes.
struct FileDigest {
  uint64_t bytes;
  uint32_t crc32c;
};
FileDigest digest(const std::filesystem::path& path);

}  // namespace lmnet
