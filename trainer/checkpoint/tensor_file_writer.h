#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "trainer/checkpoint/stored_tensor.h"

namespace lmnet {

/// Writes tensors, or pieces of them, into one HDF5 file (docs/checkpoint-format.md): contiguous datasets named as the
/// tensors, whose raw bytes are never converted. The file appears under its name only after finish(); a writer that is
/// destroyed earlier leaves nothing behind. Throws CheckpointError.
class TensorFileWriter {
 public:
  explicit TensorFileWriter(const std::filesystem::path& path);
  ~TensorFileWriter();
  TensorFileWriter(TensorFileWriter&&) noexcept;

  /// A whole tensor of any shape (bf16, fp32, fp64 or int64).
  void add(const std::string& name, const at::Tensor& tensor);
  /// `bytes` are those that `tensor` describes, its CRC included.
  void add(const StoredTensor& tensor, std::span<const std::byte> bytes);

  struct Summary {
    uint64_t bytes;   // of the file
    uint32_t crc32c;  // of the file
    std::vector<StoredTensor> tensors;
  };
  /// Completes the file, fsyncs and renames it into place.
  Summary finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lmnet
