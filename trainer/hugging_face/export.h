#pragma once
#include <filesystem>
#include <string>

namespace lmnet {

/// Writes the network of a checkpoint (or of a run's newest one) as the Hugging Face folder `out`: config.json,
/// generation_config.json, weights, the tokenizer's files that the checkpoint has, and, but for a plain backbone, the
/// modelling code that `trust_remote_code=True` loads. Weights stand under their canonical names, those of a plain
/// backbone under its family's. `dtype`: bf16, fp32, or empty = each as the checkpoint keeps it, fp64 as fp32. Throws
/// ConfigError when `out` is there already, CheckpointError, and WeightsError.
void export_checkpoint(const std::filesystem::path& checkpoint, const std::filesystem::path& out,
                       const std::string& dtype = "");

}  // namespace lmnet
