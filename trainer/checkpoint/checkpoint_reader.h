#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "trainer/checkpoint/manifest.h"
#include "trainer/checkpoint/reference.h"
#include "trainer/checkpoint/tensor_file_reader.h"

namespace lmnet {

/// Reads a checkpoint by tensor names, each file opened when first needed; every tensor is held against the manifest's
/// CRC, wherever it lies. For one thread. Throws CheckpointError.
class CheckpointReader {
 public:
  /// Checks sizes as open_checkpoint() does.
  explicit CheckpointReader(std::filesystem::path folder);

  const std::filesystem::path& folder() const { return folder_; }
  const Manifest& manifest() const { return manifest_; }

  /// Reads what it refers to, too.
  void verify_references() const;

  bool has(const std::string& name) const { return manifest_.tensors.contains(name); }
  at::Tensor read(const std::string& name) const;
  /// Elements [begin, end) of it, 1-D.
  at::Tensor read(const std::string& name, int64_t begin, int64_t end) const;
  /// A weight as exactly as it was kept: its master weight where there is one.
  at::Tensor read_exact(const std::string& name) const;

  std::string config_yaml() const { return read_checked("config.yaml"); }
  std::string state_json() const { return read_checked("state.json"); }

 private:
  const ManifestTensor& tensor(const std::string& name) const;
  at::Tensor read_reference(const std::string& name, const ManifestTensor& tensor) const;
  at::Tensor read_piece(const std::string& name, const ManifestTensor& tensor, const ManifestPiece& piece) const;
  std::string read_checked(const std::string& name) const;

  std::filesystem::path folder_;
  Manifest manifest_;
  mutable std::map<std::string, TensorFileReader> files_;
  mutable std::map<std::string, ReadReference> references_;
};

/// Throws CheckpointError that begins with `what` unless the value has the shape that the network asks for.
void require_shape(const at::Tensor& value, at::IntArrayRef shape, std::string_view what);

}  // namespace lmnet
