#include "trainer/hugging_face/reference_weights.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>

#include "model/errors.h"
#include "model/graph/errors.h"
#include "trainer/checkpoint/file_io.h"

namespace lmnet {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

ReferenceClass class_of(const std::string& preset, bool separate) {
  if (preset == "reference-gpt2") return ReferenceClass::gpt2;
  if (preset == "reference-causal") return separate ? ReferenceClass::causal_separate : ReferenceClass::causal;
  if (preset == "reference-classifier") return ReferenceClass::classifier;
  if (preset == "reference-classifier-separate") return ReferenceClass::classifier_separate;
  throw std::invalid_argument(preset + " is no class of the official implementation");
}

/// The backbone's config, in which the official GPT-2 code leaves out and adds some keys.
Json backbone_json(const fs::path& folder, bool gpt2) {
  const fs::path file = folder / "config.json";
  Json json = Json::parse(read_text(file), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) throw WeightsError(fmt::format("{}: no JSON object", file.string()));
  if (!gpt2) return json;
  if (!json.contains("model_type")) json["model_type"] = "gpt2";
  for (const char* key : {"n_ctx", "lora_attn_dim", "lora_attn_alpha", "lora_dropout", "lora_r_dropout", "fix_dropout"})
    json.erase(key);
  return json;
}

/// The names that the class has for `graph`.
std::set<std::string> names_of(ReferenceClass cls, const NetworkShape& shape, const Graph& graph) {
  std::set<std::string> names;
  for (const ParameterShape& parameter : parameter_shapes(shape, graph))
    names.insert(reference_tensor(cls, shape, graph, parameter.name).name);
  return names;
}

}  // namespace

ReferenceWeights::ReferenceWeights(const fs::path& folder, const ImportOptions& options)
    : folder_(folder),
      files_(folder),
      class_(class_of(options.preset, files_.tensors().contains("ms.0.norm.weight"))),
      config_(parse_config(model_section(options), (folder / "config.json").string())),
      spec_(resolve_model(config_.model)) {
  check_names();
  check_rest();
}

std::string ReferenceWeights::model_section(const ImportOptions& options) const {
  const auto& tensors = files_.tensors();
  if (tensors.empty()) throw WeightsError(fmt::format("{}: there is no tensor in it", folder_.string()));
  const auto size = [&](const char* name, size_t dimension) {
    const auto found = tensors.find(name);
    return found == tensors.end() || found->second.entry->shape.size() <= dimension
               ? int64_t{0}
               : found->second.entry->shape[dimension];
  };
  Json model{{"preset", options.preset},
             {"topology", options.topology},
             {"backbone", backbone_json(folder_, class_ == ReferenceClass::gpt2)},
             {"input", {{"prefix", size("pfx", 1)}}},
             {"precision", tensors.begin()->second.entry->dtype == at::kBFloat16 ? "bf16" : "fp32"}};
  if (class_ == ReferenceClass::causal_separate) model["sharing"] = "none";
  if (const int64_t classes = size("score.weight", 0); classes > 0) model["classes"] = classes;
  return Json{{"model", model}}.dump();
}

at::Tensor ReferenceWeights::read(const ParameterShape& parameter) const {
  const ReferenceTensor place = reference_tensor(class_, spec_.shape, spec_.graph, parameter.name);
  const at::Tensor stored = files_.tensor(place.name);
  const int64_t rows = stored.dim() > 0 ? stored.size(place.transposed ? -1 : stored.dim() == 3 ? 1 : 0) : 0;
  const bool has_rows = (stored.dim() == 3 && stored.size(0) == 1) || stored.dim() <= 2;
  if (has_rows && rows >= place.end) {
    at::Tensor view = reference_view(place, stored);
    if (view.sizes() == parameter.shape) return view;
  }
  throw WeightsError(fmt::format(
      "{}: tensor {} has the shape [{}], of which {} [{}] cannot be taken: config.json or "
      "--topology is of another network",
      folder_.string(), place.name, fmt::join(stored.sizes(), ", "), parameter.name, fmt::join(parameter.shape, ", ")));
}

bool ReferenceWeights::carries_nothing(const std::string& name) const {
  const at::Tensor tensor = files_.tensor(name);
  if (name.ends_with("lora_B") && tensor.any().item<bool>())
    throw WeightsError(fmt::format("{}: tensor {} is not zero: merge the LoRA matrices into the weights before import",
                                   folder_.string(), name));
  if (spec_.shape.tied() && (name == "lm_head.weight" || name == "node.lm_head.decoder.weight")) {
    const auto embedding = reference_tensor(class_, spec_.shape, spec_.graph, "embeddings.tokens.weight");
    if (tensor.equal(files_.tensor(embedding.name))) return true;
    throw WeightsError(fmt::format("{}: tensor {} differs from {}, but config.json ties them: set tie_word_embeddings",
                                   folder_.string(), name, embedding.name));
  }
  const bool later_embedding = name.starts_with("ms.") && name.ends_with(".embed_tokens.weight");
  const bool buffer =
      name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias") || name.ends_with("rotary_emb.inv_freq");
  return later_embedding || buffer || name.ends_with("lora_A") || name.ends_with("lora_B") || tensor.numel() == 0;
}

void ReferenceWeights::check_names() const {
  for (const std::string& name : names_of(class_, spec_.shape, spec_.graph))
    if (!files_.tensors().contains(name))
      throw WeightsError(fmt::format(
          "{}: there is no tensor {}, which a checkpoint of {} with topology {} has: --preset or --topology "
          "is another network's",
          folder_.string(), name, config_.model.preset, spec_.graph.topology()));
}

void ReferenceWeights::check_rest() const {
  const std::set<std::string> ours = names_of(class_, spec_.shape, spec_.graph);
  ModelConfig model = config_.model;
  model.output = "sum";  // with that, the last level's other vertices, which the head does not read, are there too
  const std::set<std::string> all = names_of(class_, spec_.shape, resolve_model(model).graph);
  for (const auto& [name, place] : files_.tensors())
    if (!ours.contains(name) && !all.contains(name) && !carries_nothing(name))
      throw WeightsError(fmt::format("{}: tensor {} has no place in topology {} of {}", folder_.string(), shown(name),
                                     spec_.graph.topology(), config_.model.preset));
}

}  // namespace lmnet
