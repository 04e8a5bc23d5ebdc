#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <string>

#include "trainer/checkpoint/manifest.h"

namespace lmnet {

/// Where a reference of a checkpoint leads to.
std::filesystem::path reference_path(const std::filesystem::path& checkpoint, const ManifestReference& reference);

/// Throws CheckpointError unless there is something, with `verify` unless all files of a copy are whole.
void check_reference(const std::filesystem::path& checkpoint, const ManifestReference& reference, bool verify);

/// Reads weights by their canonical names from where a reference leads to. `state_json`: that of the checkpoint, which
/// has the shapes of its backbones. Throws CheckpointError.
using ReadReference = std::function<at::Tensor(const std::string& name)>;
ReadReference open_reference(const std::filesystem::path& checkpoint, const std::string& name,
                             const ManifestReference& reference, const std::string& state_json);

}  // namespace lmnet
