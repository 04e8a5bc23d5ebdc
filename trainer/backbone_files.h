#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <string>

#include "model/backbone.h"

namespace lmnet {

/// Where the weights of a backbone lie.
struct BackboneFiles {
  enum class Kind { none, checkpoint, hugging_face };
  Kind kind = Kind::none;      // none: they are drawn from the seed
  std::filesystem::path path;  // the checkpoint or the folder; of a config.json the folder that it lies in

  bool operator==(const BackboneFiles&) const = default;
};

/// A backbone as a config names it.
struct Backbone {
  BackboneConfig config;
  BackboneFiles files;
};

/// `path`: a checkpoint (or run) of topology 1, a Hugging Face folder, or a config.json. Throws ConfigError that begins
/// with `where`, and CheckpointError for a damaged checkpoint.
Backbone open_backbone(const std::filesystem::path& path, const std::string& where);

/// Reads a parameter of a backbone by its canonical name without the group: `blocks.0.attention.q.weight`,
/// `norm.weight`, `embeddings.tokens.weight`, `head.weight`.
using ReadBackbone = std::function<at::Tensor(const std::string& name)>;

/// Opens the weights, which must be of this shape. Not for Kind::none. Throws CheckpointError and WeightsError.
ReadBackbone open_weights(const BackboneFiles& files, const BackboneConfig& config);

}  // namespace lmnet
