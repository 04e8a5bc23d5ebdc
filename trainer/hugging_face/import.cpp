#include "trainer/hugging_face/import.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>

#include "data/tokenizer.h"
#include "model/graph/errors.h"
#include "model/hugging_face.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/checkpoint/checkpoint_writer.h"
#include "trainer/checkpoint/file_io.h"
#include "trainer/config/presets.h"
#include "trainer/config/words.h"
#include "trainer/dtype.h"
#include "trainer/hugging_face/end_tokens.h"
#include "trainer/hugging_face/network_config.h"
#include "trainer/hugging_face/reference_weights.h"
#include "trainer/new_folder.h"
#include "trainer/run/state.h"
#include "trainer/saving/saved_tensors.h"
#include "trainer/tokenizer_files.h"

namespace lmnet {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

/// A network in a folder: the config that stands for it and its weights.
struct ImportSource {
  Config config;
  std::function<at::Tensor(const ParameterShape&)> read;
};

ImportSource exported_source(const fs::path& folder, const std::string& text) {
  const Config config = read_network_config(text, (folder / "config.json").string());
  const ModelSpec spec = resolve_model(config.model);
  auto files = std::make_shared<SafetensorsFolder>(folder);
  check_network_weights(*files, folder, spec);
  return {config, [files](const ParameterShape& at) { return files->tensor(at.name); }};
}

ImportSource plain_source(const fs::path& folder, const std::string& config) {
  const std::string where = (folder / "config.json").string();
  const auto weights = std::make_shared<BackboneWeights>(folder, BackboneConfig::from_json(config, where));
  const bool bf16 = weights->read("embeddings.tokens.weight").scalar_type() == at::kBFloat16;
  const Json model{
      {"topology", "1"}, {"backbone", Json::parse(weights->config().to_json())}, {"precision", bf16 ? "bf16" : "fp32"}};
  return {parse_config(Json{{"model", model}}.dump(), where),
          [weights](const ParameterShape& at) { return weights->read(at.name); }};
}

ImportSource reference_source(const fs::path& folder, const ImportOptions& options) {
  const auto weights = std::make_shared<ReferenceWeights>(folder, options);
  return {weights->config(), [weights](const ParameterShape& at) { return weights->read(at); }};
}

ImportSource open_source(const fs::path& folder, const ImportOptions& options) {
  const fs::path file = folder / "config.json";
  if (!fs::exists(file))
    throw ConfigError(
        fmt::format("{}: there is no config.json, which says what network the weights are of", folder.string()));
  if (options.preset != "none") return reference_source(folder, options);
  const std::string config = read_text(file);
  if (is_network_config(config)) {
    if (!options.topology.empty())
      throw ConfigError(fmt::format("{} names its own graph: leave --topology out", file.string()));
    return exported_source(folder, config);
  }
  if (!options.topology.empty() && options.topology != "1")
    throw ConfigError(
        fmt::format("{} is a backbone alone, which has topology 1; to import a checkpoint of the official "
                    "implementation give --preset too, to build a new network name the folder as "
                    "model.backbone of a config",
                    folder.string()));
  return plain_source(folder, config);
}

/// What is wrong with the call is told before the weights are looked at.
void check_options(const ImportOptions& options) {
  const std::vector<std::string> presets = config::preset_names();
  if (options.preset != "none" && std::ranges::find(presets, options.preset) == presets.end())
    throw ConfigError(
        fmt::format("--preset {}: no checkpoint of the official implementation is of that kind{}; there are {}",
                    options.preset, config::did_you_mean(options.preset, presets), fmt::join(presets, ", ")));
  if (options.preset != "none" && options.topology.empty())
    throw ConfigError(
        "--topology is missing: a checkpoint of the official implementation does not tell its own, give the vertices "
        "per "
        "level, such as 1-2-1");
  if (!options.topology.empty()) Graph::layered(options.topology);
}

TextFiles texts_of(const fs::path& folder) {
  TextFiles texts = has_tokenizer(folder) ? read_tokenizer_files(*make_tokenizer(folder.string())) : TextFiles();
  texts["generation_config.json"] = generation_config(folder, end_tokens(folder, nullptr, 0));
  return texts;
}

}  // namespace

void import_folder(const fs::path& folder, const fs::path& out, const ImportOptions& options) {
  check_options(options);
  NewFolder target(out);
  const ImportSource source = open_source(folder, options);
  const ModelSpec spec = resolve_model(source.config.model);
  CheckpointWriter writer(target.temporary() / folder_name(0), 0);
  writer.prepare();
  for (const ParameterShape& parameter : parameter_shapes(spec.shape, spec.graph)) {
    at::Tensor value = source.read(parameter);
    if (value.scalar_type() == at::kHalf) value = value.to(at::kFloat);
    writer.add(file_kind(parameter.part), parameter.name, value.contiguous());
  }
  writer.hand_in();
  Manifest manifest;
  manifest.stage_name = "imported";
  manifest.topology = spec.graph.topology();
  manifest.precision = dtype_name(spec.dtype);
  manifest.config_hash = identity_hash(source.config);
  TextFiles texts = texts_of(folder);
  texts["config.yaml"] = to_yaml(source.config);
  texts["state.json"] = to_json(RunState(), spec.shape, {});
  writer.finish(manifest, texts);
  target.publish(writer.folder());
}

}  // namespace lmnet
