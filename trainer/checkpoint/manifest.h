#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "trainer/checkpoint/stored_tensor.h"
#include "trainer/checkpoint/tensor_file_writer.h"

namespace lmnet {

/// A file of a checkpoint, by its name in the folder.
struct ManifestFile {
  std::string name;
  uint64_t bytes = 0;
  uint32_t crc32c = 0;
};

/// Elements of a tensor in one of the files.
struct ManifestPiece {
  std::string file;
  int64_t offset = 0, length = 0;
  uint32_t crc32c = 0;
};

/// A tensor, and the pieces that make it up, in order; or the reference under which it is found elsewhere.
struct ManifestTensor {
  at::ScalarType dtype = at::ScalarType::Undefined;
  std::vector<int64_t> shape;
  std::vector<ManifestPiece> pieces;
  std::string reference;  // empty: it stands in the files
  uint32_t crc32c = 0;    // of the whole tensor's bytes

  int64_t elements() const { return StoredTensor{"", dtype, shape}.elements(); }
};

/// Frozen weights that are not written again with every checkpoint.
struct ManifestReference {
  std::string kind;  // hugging_face: a folder; checkpoint: one that holds the tensors under their names
  std::string path;  // absolute, or beside the checkpoint: `../frozen-000000100`
  std::string hash;  // of the names and contents of what is taken from there
};

/// What a checkpoint consists of: `manifest.json`, written last (docs/checkpoint-format.md). Weights stand under their
/// canonical names, what the optimiser keeps of them under `NAME@master`, `NAME@exp_avg` and `NAME@exp_avg_sq`.
struct Manifest {
  int64_t update = 0;
  int stage = 0;
  std::string stage_name;
  uint64_t tokens = 0;  // trained on so far
  std::string topology;
  std::string precision;
  std::vector<std::string> trains;  // the parts whose optimiser states are there
  int vertex_parallel = 1;
  int data_parallel = 1;
  int zero = 1;
  std::string plan_hash, config_hash, tokenizer_hash;
  std::optional<double> validation_loss;  // measured at this update
  std::vector<ManifestFile> files;        // all but manifest.json itself
  std::map<std::string, ManifestReference> references;
  std::map<std::string, ManifestTensor> tensors;
};

/// Adds a file and what it holds of tensors.
void add_file(Manifest& manifest, const std::string& name, const TensorFileWriter::Summary& summary);

/// Adds files and pieces of `part`; its other fields are ignored. Throws CheckpointError where both know a tensor
/// differently.
void add_part(Manifest& manifest, Manifest part);

/// Puts the pieces in order and takes their CRCs together. Throws CheckpointError unless every tensor is there exactly
/// once.
void complete_tensors(Manifest& manifest);

/// The text ends with a CRC of itself.
std::string to_json(const Manifest& manifest);

/// Strict: unknown, missing and mistyped fields throw CheckpointError that starts with `where` and names the field, and
/// so does a text that is not what was written.
Manifest parse_manifest(const std::string& json, const std::string& where);

/// Reads such a file.
Manifest read_manifest(const std::filesystem::path& path);

}  // namespace lmnet
