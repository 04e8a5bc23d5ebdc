#pragma once
#include <filesystem>
#include <span>
#include <string>

namespace lmnet {

struct InspectOptions {
  bool json = false;    // one JSON object instead of tables
  bool verify = false;  // read every byte: a checkpoint's CRCs must fit, a backbone's weights be finite numbers
};

/// `lmnet inspect`: what a config, a run folder (its newest checkpoint), a checkpoint, a config.json (a single
/// vertex, or an exported network), a Hugging Face folder with one, or a .safetensors file stands for, as text. Nothing
/// of the size of the weights is allocated. `overrides` are for configs. Throws ConfigError, and CheckpointError or
/// WeightsError that names a broken file.
std::string inspect(const std::filesystem::path& what, std::span<const std::string> overrides,
                    const InspectOptions& options);

}  // namespace lmnet
