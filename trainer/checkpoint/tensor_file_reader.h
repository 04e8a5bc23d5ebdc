#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "trainer/checkpoint/stored_tensor.h"

namespace lmnet {

/// Reads tensors, or pieces of them, of such a file (tensor_file_writer.h) by name, checking each one's CRC; several
/// threads may read at once. Throws CheckpointError naming file and tensor.
class TensorFileReader {
 public:
  explicit TensorFileReader(const std::filesystem::path& path);
  ~TensorFileReader();
  TensorFileReader(TensorFileReader&&) noexcept;

  /// In the order of their names.
  const std::vector<StoredTensor>& tensors() const;
  const StoredTensor& tensor(const std::string& name) const;
  /// In the tensor's shape where the whole of it is here, else 1-D.
  at::Tensor read(const std::string& name) const;

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
