#pragma once
#include <filesystem>
#include <string>

namespace lmnet {

/// What import is told about a checkpoint of the official implementation, whose folder does not say it.
struct ImportOptions {
  std::string preset = "none";  // reference-gpt2, reference-causal, …: it is one of that kind
  std::string topology;         // its vertices per level; empty = not given
};

/// Makes the checkpoint `out` (of update 0) from a folder with config.json and .safetensors files:
/// - one that `lmnet export` wrote, with the graph that its config names;
/// - a plain Hugging Face folder: a network of topology 1;
/// - with a preset: one of the official implementation (trainer/hugging_face/reference_weights.h), also of its classes
/// that keep a
///   copy of the weights for each vertex.
/// Values are kept as they are stored, F16 as fp32; so are the tokens that end a text. Throws ConfigError for options
/// that do not fit and when `out` is there already, WeightsError for what is wrong in the folder.
void import_folder(const std::filesystem::path& folder, const std::filesystem::path& out, const ImportOptions& options);

}  // namespace lmnet
