#include "trainer/backbone_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "model/graph/errors.h"
#include "model/hugging_face.h"
#include "trainer/checkpoint/file_io.h"
#include "trainer/hugging_face/network_config.h"
#include "trainer/model_spec.h"

namespace lmnet {
namespace {

namespace fs = std::filesystem;

Backbone checkpoint_backbone(const fs::path& checkpoint, const std::string& where) {
  const ModelSpec saved = model_of_checkpoint(CheckpointReader(checkpoint));
  if (!is_plain(saved))
    throw ConfigError(
        fmt::format("{}: {} has {} vertices, {} edges with parameters, a prefix of {} and {} classes; a backbone has "
                    "topology 1, no edge, prefix or classes",
                    where, checkpoint.string(), saved.graph.vertices().size(),
                    std::ranges::count_if(saved.graph.edges(), [](const Edge& edge) { return !edge.kinds.empty(); }),
                    saved.shape.prefix, saved.shape.classes));
  return {saved.shape.backbone, {BackboneFiles::Kind::checkpoint, checkpoint}};
}

/// The one vertex group of a checkpoint: `vertices.shared.`.
std::string group_prefix(const Manifest& manifest) {
  constexpr std::string_view part = "vertices.";
  for (const auto& [name, tensor] : manifest.tensors)
    if (name.starts_with(part)) return name.substr(0, name.find('.', part.size()) + 1);
  return std::string(part);
}

}  // namespace

Backbone open_backbone(const fs::path& path, const std::string& where) {
  if (!fs::exists(path))
    throw ConfigError(
        fmt::format("{}: {} does not exist; give a Hugging Face folder, a checkpoint of topology 1, a "
                    "config.json, or a mapping",
                    where, path.string()));
  if (const auto checkpoint = find_checkpoint(path)) return checkpoint_backbone(*checkpoint, where);
  const bool is_folder = fs::is_directory(path);
  const fs::path config = is_folder ? path / "config.json" : path;
  if (!fs::exists(config))
    throw ConfigError(
        fmt::format("{}: {} is neither a checkpoint nor a Hugging Face folder: there is no config.json in "
                    "it",
                    where, path.string()));
  const BackboneFiles files{is_folder ? BackboneFiles::Kind::hugging_face : BackboneFiles::Kind::none,
                            is_folder ? path : path.parent_path()};
  const std::string text = read_text(config);
  if (is_network_config(text))
    throw ConfigError(
        fmt::format("{}: {} is a network that was exported; import it first (lmnet import) and name the checkpoint",
                    where, path.string()));
  return {BackboneConfig::from_json(text, config.string()), files};
}

ReadBackbone open_weights(const BackboneFiles& files, const BackboneConfig& config) {
  if (files.kind == BackboneFiles::Kind::hugging_face) {
    auto weights = std::make_shared<BackboneWeights>(files.path, config);
    return [weights](const std::string& name) { return weights->read(name); };
  }
  auto reader = std::make_shared<CheckpointReader>(files.path);
  return [reader, group = group_prefix(reader->manifest())](const std::string& name) {
    const bool of_vertex = !name.starts_with("embeddings.") && !name.starts_with("head.");
    return reader->read_exact(of_vertex ? group + name : name);
  };
}

}  // namespace lmnet
