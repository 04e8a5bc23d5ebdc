#include "trainer/export.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "data/tokenizer.h"
#include "model/graph/errors.h"
#include "model/hugging_face.h"
#include "trainer/checkpoint/errors.h"
#include "trainer/checkpoint/file_io.h"
#include "trainer/hugging_face/modelling_code.h"
#include "trainer/network_config.h"
#include "trainer/new_folder.h"
#include "trainer/tokenizer_files.h"

namespace lmnet {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kGenerationConfig = "generation_config.json";

/// Tokens beyond the vocabulary are those of a tokenizer that the network was not made for.
EndTokens end_tokens(const std::string& tokenizer_name, int64_t vocabulary) {
  const auto tokenizer = make_tokenizer(tokenizer_name);
  const auto known = [&](int64_t id) { return id >= 0 && id < vocabulary ? std::optional(id) : std::nullopt; };
  return {known(tokenizer->end_of_text()), known(tokenizer->padding())};
}

/// The checkpoint's own, if it was imported with one, and where a text ends in any case.
std::string generation_config(const CheckpointReader& checkpoint, const EndTokens& tokens) {
  const fs::path own = checkpoint.folder() / kGenerationConfig;
  Json json = fs::exists(own) ? Json::parse(read_text(own), nullptr, /*allow_exceptions=*/false) : Json::object();
  if (!json.is_object()) throw CheckpointError(fmt::format("{}: no JSON object", own.string()));
  if (tokens.end && !json.contains("eos_token_id")) json["eos_token_id"] = *tokens.end;
  if (tokens.padding && !json.contains("pad_token_id")) json["pad_token_id"] = *tokens.padding;
  return json.dump(2) + "\n";
}

at::ScalarType choose_dtype(const CheckpointReader& checkpoint, const std::string& wanted) {
  if (wanted == "bf16") return at::kBFloat16;
  if (wanted == "fp32") return at::kFloat;
  if (!wanted.empty()) throw ConfigError(fmt::format("--dtype {}: give bf16 or fp32", wanted));
  for (const StoredTensor& tensor : checkpoint.tensors())
    if (tensor.name == "embeddings.tokens.weight") return tensor.dtype;
  throw CheckpointError(fmt::format("{}: tensor embeddings.tokens.weight is missing", checkpoint.folder().string()));
}

void write_network(const CheckpointReader& checkpoint, const ModelSpec& spec, at::ScalarType dtype,
                   const fs::path& folder) {
  std::vector<SafetensorsEntry> entries;
  for (const ParameterShape& parameter : parameter_shapes(spec.shape, spec.graph))
    entries.push_back({parameter.name, dtype, parameter.shape});
  write_safetensors_folder(folder, entries, [&](const SafetensorsEntry& entry) {
    at::Tensor value = checkpoint.read(entry.name);
    if (value.sizes() != entry.shape)
      throw CheckpointError(fmt::format("{}: tensor {} has another shape than its network's config says",
                                        checkpoint.folder().string(), entry.name));
    return value;
  });
  for (const ModellingFile& file : modelling_code()) write_text(folder / file.name, file.text);
}

void write_plain(const CheckpointReader& checkpoint, const ModelSpec& spec, at::ScalarType dtype,
                 const fs::path& folder) {
  const std::string group = spec.graph.vertices().front().group;
  write_backbone_weights(
      folder, spec.shape.backbone,
      [&](const std::string& name) {
        const bool of_vertex = !name.starts_with("embeddings.") && !name.starts_with("head.");
        return checkpoint.read(of_vertex ? fmt::format("vertices.{}.{}", group, name) : name);
      },
      dtype);
}

}  // namespace

void export_checkpoint(const fs::path& path, const fs::path& out, const std::string& dtype) {
  const CheckpointReader checkpoint(require_checkpoint(path));
  const Config config = parse_config(checkpoint.config_yaml(), (checkpoint.folder() / "config.yaml").string());
  const ModelSpec spec = model_of_checkpoint(checkpoint);
  const std::string tokenizer = tokenizer_name(checkpoint.folder(), config.data);
  const EndTokens tokens = end_tokens(tokenizer, spec.shape.backbone.vocabulary);
  const at::ScalarType stored = choose_dtype(checkpoint, dtype);

  NewFolder folder(out);
  TextFiles texts = read_tokenizer_files(tokenizer);
  texts[kGenerationConfig] = generation_config(checkpoint, tokens);
  if (is_plain(spec)) {
    texts["config.json"] = plain_config_json(spec.shape.backbone, stored, tokens);
    write_plain(checkpoint, spec, stored, folder.temporary());
  } else {
    texts["config.json"] = network_config_json(config, spec, stored, tokens);
    write_network(checkpoint, spec, stored, folder.temporary());
  }
  for (const auto& [name, text] : texts) write_text(folder.temporary() / name, text);
  folder.publish(folder.temporary());
}

}  // namespace lmnet
