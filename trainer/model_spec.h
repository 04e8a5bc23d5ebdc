#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "model/network.h"
#include "trainer/backbone_files.h"
#include "trainer/checkpoint/checkpoint_reader.h"
#include "trainer/config/config.h"
#include "trainer/console.h"
#include "trainer/optimizer.h"

namespace lmnet {

/// What a `model:` section stands for: everything needed to build the network.
struct ModelSpec {
  NetworkShape shape;
  Graph graph;
  at::ScalarType dtype = at::kBFloat16;
  BackboneFiles files;                               // of the main backbone
  std::map<std::string, BackboneFiles> group_files;  // of the vertex groups in shape.groups
};

/// Throws ConfigError (file:line, way out) for what cannot be built, CheckpointError for a damaged backbone.
ModelSpec resolve_model(const ModelConfig& model);

/// A checkpoint's folder itself, or the newest complete checkpoint of a run's folder.
std::optional<std::filesystem::path> find_checkpoint(const std::filesystem::path& path);
/// The same; throws CheckpointError when there is none.
std::filesystem::path require_checkpoint(const std::filesystem::path& path);

/// The config that a checkpoint was saved with. Throws CheckpointError where it is damaged.
Config config_of_checkpoint(const CheckpointReader& checkpoint);

/// The network of a checkpoint, which stands alone: the shapes of its backbones are kept in state.json.
ModelSpec model_of_checkpoint(const CheckpointReader& checkpoint);

/// The backbone whose weights a parameter of the network begins with: the name of its vertex group where that has one
/// of its own, and its files; without files where there is none (edges, prefix, classes).
struct BackboneOf {
  std::string group;
  const BackboneFiles* files = nullptr;
};
BackboneOf backbone_of(const ModelSpec& spec, Parameter::Part part, const std::string& name);

/// Copies into the vertex groups, the embeddings and a language head that `optimizer` holds what their backbones have;
/// what is drawn from the seed (edges, prefix, classes, a backbone without weights) is left. Throws CheckpointError and
/// WeightsError where something is missing or does not fit.
void load_backbones(Optimizer& optimizer, const ModelSpec& spec, const Advance& advance = {});

/// The groups named in `trains`.
Trains parse_trains(const StageConfig& stage);
/// The learning rate of each group that trains in this stage.
std::map<Parameter::Part, double> learning_rates(const StageConfig& stage);

}  // namespace lmnet
