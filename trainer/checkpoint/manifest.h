#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "trainer/checkpoint/tensor_file.h"

namespace lmnet {

/// A file of a checkpoint, by its name in the folder.
struct ManifestFile {
  std::string name;
  uint64_t bytes = 0;
  uint32_t crc32c = 0;
};

/// What a checkpoint consists of: `manifest.json`, written last. Weights stand under their canonical names, the moments
/// of the optimiser under `NAME@exp_avg` and `NAME@exp_avg_sq`.
struct Manifest {
  int format_version = 1;
  int64_t update = 0;
  int stage = 0;
  std::string stage_name;
  uint64_t tokens = 0;  // trained on so far
  int vertex_parallel = 1;
  int data_parallel = 1;
  std::string topology;
  std::string plan_hash;
  std::vector<ManifestFile> files;             // all but manifest.json itself
  std::map<std::string, std::string> tensors;  // name -> file that holds it whole
};

/// Adds a file and the tensors in it. Throws CheckpointError if one of them already stands in another file.
void add_file(Manifest& manifest, const std::string& name, const TensorFileWriter::Summary& summary);

/// Adds the files and tensors of `part`, in the same way; its other fields are ignored.
void add_part(Manifest& manifest, const Manifest& part);

std::string to_json(const Manifest& manifest);

/// Strict: unknown, missing and mistyped fields throw CheckpointError that starts with `where` and names the field.
Manifest parse_manifest(const std::string& json, const std::string& where);

/// Reads such a file.
Manifest read_manifest(const std::filesystem::path& path);

}  // namespace lmnet
