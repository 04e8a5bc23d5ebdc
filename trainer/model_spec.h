#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <optional>
#include <set>
#include <string>

#include "model/backbone.h"
#include "model/graph/layout.h"
#include "model/parameter.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/config/config.h"
#include "trainer/optimizer.h"

namespace lmnet {

/// What a `model:` section stands for: everything needed to build the network.
struct ModelSpec {
  BackboneConfig backbone;
  Graph graph;
  at::ScalarType dtype = at::kBFloat16;
  std::optional<std::filesystem::path> weights;  // a checkpoint of topology 1 to take the backbone from
};

/// Throws ConfigError (file:line, way out) for what cannot be built, CheckpointError for a damaged backbone.
ModelSpec resolve_model(const ModelConfig& model);

/// A checkpoint's folder itself, or the newest complete checkpoint of a run's folder.
std::optional<std::filesystem::path> find_checkpoint(const std::filesystem::path& path);
/// The same; throws CheckpointError when there is none.
std::filesystem::path require_checkpoint(const std::filesystem::path& path);

/// The network of a checkpoint, which stands alone: its backbone's shape is kept in state.json.
ModelSpec model_of_checkpoint(const CheckpointReader& checkpoint);

/// Copies the backbone of a topology-1 checkpoint into every vertex group, the embedding and the head that
/// `optimizer` holds. Throws CheckpointError when it does not fit.
void load_backbone(Optimizer& optimizer, const std::filesystem::path& checkpoint);

/// The groups named in `trains`.
Trains parse_trains(const StageConfig& stage);
/// The learning rate of each group that trains in this stage.
std::map<Parameter::Part, double> learning_rates(const StageConfig& stage);

}  // namespace lmnet
