#include "trainer/hugging_face/network_config.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

#include "model/errors.h"
#include "trainer/config/schema.h"
#include "trainer/explicit_graph.h"

namespace lmnet {
namespace {

using Json = nlohmann::ordered_json;

/// As torch names it, in both dialects of config.json.
void put_dtype(Json& json, at::ScalarType dtype) {
  const char* name = dtype == at::kBFloat16 ? "bfloat16" : dtype == at::kDouble ? "float64" : "float32";
  json["torch_dtype"] = name;
  json["dtype"] = name;
}

/// The `model` section with the backbones themselves where it had paths.
Json model_section(Config config, const NetworkShape& shape) {
  config.model.load = {};
  config.model.backbone.clear();
  config.model.backbone_json = shape.backbone.to_json();
  if (config.model.topology.empty())
    config.model.topology_json = with_backbones(config.model.topology_json, group_backbones(shape));
  return config::to_json(*config::config_schema().write(config).find("model"));
}

void put_graph(Json& json, const Graph& graph, const NetworkShape& shape) {
  int64_t places = 0;  // with a cache of their own
  json["vertices"] = Json::array();
  for (const Vertex& vertex : graph.vertices()) {
    json["vertices"].push_back({{"name", vertex.name}, {"group", vertex.group}, {"level", vertex.level}});
    places += shape.of(vertex.group).blocks;
  }
  json["edges"] = Json::array();
  for (const Edge& edge : graph.edges()) {
    Json kinds = Json::array();
    for (EdgeKind kind : edge.kinds) {
      kinds.push_back(to_string(EdgeKinds{kind}));
      places += kind == EdgeKind::block || kind == EdgeKind::attention;
    }
    json["edges"].push_back(
        {{"name", edge.name}, {"source", edge.source}, {"destination", edge.destination}, {"kinds", kinds}});
  }
  for (int vertex = 0; vertex <= graph.head(); ++vertex) json["input_scales"].push_back(graph.input_scale(vertex));
  json["num_hidden_layers"] = places;
}

}  // namespace

bool is_plain(const ModelSpec& spec) {
  const auto identity = [](const Edge& edge) { return edge.kinds.empty(); };
  return spec.graph.vertices().size() == 1 && std::ranges::all_of(spec.graph.edges(), identity) &&
         spec.shape.groups.empty() && spec.shape.prefix == 0 && spec.shape.classes == 0;
}

std::string plain_config_json(const BackboneConfig& backbone, at::ScalarType dtype, const EndTokens& tokens) {
  Json json = Json::parse(backbone.to_json());
  json["architectures"] = {backbone.gpt2()                                    ? "GPT2LMHeadModel"
                           : backbone.family == BackboneConfig::Family::llama ? "LlamaForCausalLM"
                                                                              : "Qwen2ForCausalLM"};
  put_dtype(json, dtype);
  put_tokens(json, tokens);
  return json.dump(2) + "\n";
}

std::string network_config_json(const Config& config, const ModelSpec& spec, at::ScalarType dtype,
                                const EndTokens& tokens) {
  const NetworkShape& shape = spec.shape;
  const std::string name = shape.classes > 0 ? "LMNetForSequenceClassification" : "LMNetForCausalLM";
  const std::string automatic = shape.classes > 0 ? "AutoModelForSequenceClassification" : "AutoModelForCausalLM";
  Json json{{"model_type", "lmnet"},
            {"architectures", {name}},
            {"auto_map", {{"AutoConfig", "configuration_lmnet.LMNetConfig"}, {automatic, "modeling_lmnet." + name}}},
            {"vocab_size", shape.backbone.vocabulary},
            {"hidden_size", shape.backbone.hidden_size},
            {"tie_word_embeddings", shape.tied()},
            {"prefix_length", shape.prefix},
            {"classes", shape.classes},
            {"backbone", Json::parse(shape.backbone.to_json())},
            {"group_backbones", group_backbones(shape)}};
  if (shape.backbone.positions > 0) json["max_position_embeddings"] = shape.backbone.positions - shape.prefix;
  put_graph(json, spec.graph, shape);
  put_dtype(json, dtype);
  put_tokens(json, tokens);
  json["model"] = model_section(config, shape);
  return json.dump(2) + "\n";
}

bool is_network_config(const std::string& text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  return json.is_object() && json.value("model_type", Json()) == "lmnet";
}

Config read_network_config(const std::string& text, const std::string& where) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("model"))
    throw WeightsError(fmt::format("{}: there is no section \"model\" in it, as `lmnet export` writes one", where));
  return parse_config(Json{{"model", json["model"]}}.dump(), where);
}

std::vector<ParameterShape> parameter_shapes(const NetworkShape& shape, const Graph& graph) {
  const Network network(shape, graph, whole_placement(graph), 0, at::TensorOptions(at::kMeta).dtype(at::kFloat));
  std::vector<ParameterShape> shapes;
  for (const Parameter& parameter : network.parameter_storage())
    for (const View& view : parameter.views)
      shapes.push_back({view.name, parameter.part, slice(parameter.value, view).sizes().vec()});
  return shapes;
}

void check_network_weights(const SafetensorsFolder& files, const std::filesystem::path& folder, const ModelSpec& spec) {
  std::set<std::string, std::less<>> names;
  for (const ParameterShape& parameter : parameter_shapes(spec.shape, spec.graph)) {
    const auto found = files.tensors().find(parameter.name);
    if (found == files.tensors().end())
      throw WeightsError(fmt::format("{}: tensor {} is missing", folder.string(), parameter.name));
    const std::vector<int64_t>& shape = found->second.entry->shape;
    if (shape != parameter.shape)
      throw WeightsError(fmt::format("{}: tensor {} has the shape [{}], but by config.json it is [{}]", folder.string(),
                                     parameter.name, fmt::join(shape, ", "), fmt::join(parameter.shape, ", ")));
    names.insert(parameter.name);
  }
  for (const auto& [name, place] : files.tensors())
    if (!names.contains(name))
      throw WeightsError(
          fmt::format("{}: the network that config.json describes has no tensor {}", folder.string(), shown(name)));
}

Json group_backbones(const NetworkShape& shape) {
  Json backbones = Json::object();
  for (const auto& [group, backbone] : shape.groups) backbones[group] = Json::parse(backbone.to_json());
  return backbones;
}

}  // namespace lmnet
