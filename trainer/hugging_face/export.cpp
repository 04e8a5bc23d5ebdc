#include "trainer/hugging_face/export.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <map>
#include <optional>

#include "data/tokenizer.h"
#include "model/graph/errors.h"
#include "model/hugging_face.h"
#include "trainer/backbone_files.h"
#include "trainer/checkpoint/file_io.h"
#include "trainer/hugging_face/end_tokens.h"
#include "trainer/hugging_face/modelling_code.h"
#include "trainer/hugging_face/network_config.h"
#include "trainer/new_folder.h"
#include "trainer/tokenizer_files.h"

namespace lmnet {
namespace {

namespace fs = std::filesystem;

std::optional<at::ScalarType> wanted_dtype(const std::string& wanted) {
  if (wanted == "bf16") return at::kBFloat16;
  if (wanted == "fp32") return at::kFloat;
  if (!wanted.empty()) throw ConfigError(fmt::format("--dtype {}: give bf16 or fp32", wanted));
  return std::nullopt;
}

/// The network of a checkpoint and what its tensors are written as.
struct Export {
  const CheckpointReader& checkpoint;
  ModelSpec spec;
  std::map<std::string, at::ScalarType> dtypes;  // by canonical name

  Export(const CheckpointReader& from, std::optional<at::ScalarType> wanted)
      : checkpoint(from), spec(model_of_checkpoint(from)) {
    for (const auto& [name, tensor] : checkpoint.manifest().tensors)
      dtypes[name] = wanted.value_or(tensor.dtype == at::kDouble ? at::kFloat : tensor.dtype);
  }

  /// Of a tensor that is missing none, which reading it tells.
  at::ScalarType dtype(const std::string& name) const {
    const auto found = dtypes.find(name);
    return found == dtypes.end() ? at::kFloat : found->second;
  }

  /// The one in which transformers loads the weights: none of them loses anything.
  at::ScalarType common_dtype() const {
    at::ScalarType common = at::kBFloat16;
    for (const ParameterShape& parameter : parameter_shapes(spec.shape, spec.graph))
      common = c10::promoteTypes(common, dtype(parameter.name));
    return common;
  }
};

void write_network(const Export& network, const fs::path& folder) {
  std::vector<SafetensorsEntry> entries;
  for (const ParameterShape& parameter : parameter_shapes(network.spec.shape, network.spec.graph))
    entries.push_back({parameter.name, network.dtype(parameter.name), parameter.shape});
  write_safetensors_folder(folder, entries, [&](const SafetensorsEntry& entry) {
    at::Tensor value = network.checkpoint.read(entry.name);
    require_shape(value, entry.shape, fmt::format("{}: tensor {}", network.checkpoint.folder().string(), entry.name));
    return value;
  });
  for (const ModellingFile& file : modelling_code()) write_text(folder / file.name, file.text);
}

void write_plain(const Export& network, const fs::path& folder) {
  std::map<std::string_view, at::ScalarType> dtypes;
  for (const auto& [name, dtype] : network.dtypes) dtypes[without_group(name)] = dtype;
  const BackboneConfig& backbone = network.spec.shape.backbone;
  write_backbone_weights(folder, backbone,
                         open_weights({BackboneFiles::Kind::checkpoint, network.checkpoint.folder()}, backbone),
                         [&](const std::string& name) {
                           const auto found = dtypes.find(name);
                           return found == dtypes.end() ? at::kFloat : found->second;
                         });
}

}  // namespace

void export_checkpoint(const fs::path& path, const fs::path& out, const std::string& dtype) {
  const CheckpointReader checkpoint(require_checkpoint(path));
  const Config config = config_of_checkpoint(checkpoint);
  const Export network(checkpoint, wanted_dtype(dtype));
  const ModelSpec& spec = network.spec;
  const auto tokenizer = make_tokenizer(tokenizer_name(checkpoint.folder(), config.data));
  const EndTokens tokens = end_tokens(checkpoint, config.data, *tokenizer, spec.shape.backbone.vocabulary);

  NewFolder folder(out);
  TextFiles texts = read_tokenizer_files(*tokenizer);
  texts["generation_config.json"] = generation_config(checkpoint.folder(), tokens);
  if (is_plain(spec)) {
    texts["config.json"] = plain_config_json(spec.shape.backbone, network.common_dtype(), tokens);
    write_plain(network, folder.temporary());
  } else {
    texts["config.json"] = network_config_json(config, spec, network.common_dtype(), tokens);
    write_network(network, folder.temporary());
  }
  for (const auto& [name, text] : texts) write_text(folder.temporary() / name, text);
  folder.publish(folder.temporary());
}

}  // namespace lmnet
