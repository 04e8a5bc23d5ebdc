#include "trainer/checkpoint/reference.h"

#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "model/hugging_face.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/checkpoint/checkpoint_reader.h"
#include "trainer/checkpoint/errors.h"
#include "trainer/checkpoint/file_io.h"

namespace lmnet {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

/// Of `backbone` the main one's, of `backbone.GROUP` the group's.
BackboneConfig backbone_config(const std::string& name, const std::string& state_json, const std::string& where) {
  const Json state = Json::parse(state_json);
  const size_t dot = name.find('.');
  const Json& config =
      dot == std::string::npos ? state.at("backbone") : state.at("group_backbones").at(name.substr(dot + 1));
  return BackboneConfig::from_json(config.dump(), where);
}

}  // namespace

fs::path reference_path(const fs::path& checkpoint, const ManifestReference& reference) {
  return (checkpoint / reference.path).lexically_normal();  // an absolute one stays as it is
}

void check_reference(const fs::path& checkpoint, const ManifestReference& reference, bool verify) {
  const fs::path path = reference_path(checkpoint, reference);
  if (!path_exists(path))
    throw CheckpointError(fmt::format(
        "{}: its frozen weights lie in {}, which is not there; put that folder, or a link to it, in its place",
        checkpoint.string(), path.string()));
  if (reference.kind == "checkpoint") open_checkpoint(path, verify);
}

ReadReference open_reference(const fs::path& checkpoint, const std::string& name, const ManifestReference& reference,
                             const std::string& state_json) {
  check_reference(checkpoint, reference, /*verify=*/false);
  const fs::path path = reference_path(checkpoint, reference);
  try {
    if (reference.kind == "checkpoint") {
      auto copy = std::make_shared<CheckpointReader>(path);
      return [copy](const std::string& tensor) { return copy->read(tensor); };
    }
    auto folder = std::make_shared<BackboneWeights>(path, backbone_config(name, state_json, checkpoint.string()));
    return [folder](const std::string& tensor) { return folder->read(tensor); };
  } catch (const CheckpointError&) {
    throw;
  } catch (const std::exception& error) {
    throw CheckpointError(fmt::format("{}: its frozen weights cannot be read from {}: {}", checkpoint.string(),
                                      path.string(), error.what()));
  }
}

}  // namespace lmnet
