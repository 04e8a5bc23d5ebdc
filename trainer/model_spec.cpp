#include "trainer/model_spec.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "model/graph/errors.h"
#include "trainer/checkpoint/errors.h"
#include "trainer/checkpoint/file_io.h"

namespace lmnet {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

template <typename T>
T choose(const std::string& value, std::initializer_list<std::pair<const char*, T>> choices) {
  for (const auto& [name, choice] : choices)
    if (value == name) return choice;
  throw ConfigError(fmt::format("\"{}\" is not built", value));
}

GraphOptions graph_options(const ModelConfig& model) {
  GraphOptions options;
  options.sharing = choose<Sharing>(
      model.sharing,
      {{"all", Sharing::all}, {"level", Sharing::level}, {"none", Sharing::none}, {"groups", Sharing::groups}});
  options.aggregation =
      choose<Aggregation>(model.aggregation, {{"sum", Aggregation::sum}, {"mean", Aggregation::mean}});
  options.output =
      choose<Output>(model.output, {{"first", Output::first}, {"mean", Output::mean}, {"sum", Output::sum}});
  options.input_edge = model.input_edge == "block" ? EdgeKind::block : EdgeKind::identity;
  return options;
}

std::string text_of(const Json& map, const char* key, const std::string& what, bool required) {
  if (!map.contains(key)) {
    if (required) throw ConfigError(fmt::format("{} lacks \"{}\"", what, key));
    return "";
  }
  return map[key].is_string() ? map[key].get<std::string>() : map[key].dump();
}

void only(const Json& map, std::set<std::string> keys, const std::string& what) {
  if (!map.is_object() && !map.is_null()) throw ConfigError(fmt::format("{} must be a mapping", what));
  for (const auto& [key, value] : map.items())
    if (!keys.contains(key))
      throw ConfigError(fmt::format("{} has the unknown key {}; known are {}", what, key, fmt::join(keys, ", ")));
}

Graph parse_explicit(const std::string& text, const GraphOptions& options) {
  Json graph = Json::parse(text);
  only(graph, {"vertices", "edges"}, "the graph");
  std::vector<ExplicitVertex> vertices;
  std::vector<ExplicitEdge> edges;
  const Json& named = graph.value("vertices", Json::object());
  for (const auto& [name, value] : named.items()) {
    only(value, {"group"}, "vertex " + name);
    vertices.push_back({name, value.is_null() ? "" : text_of(value, "group", "vertex " + name, false)});
  }
  for (const Json& edge : graph.value("edges", Json::array())) {
    std::string what = "edge " + edge.dump();
    only(edge, {"from", "to", "kind"}, what);
    edges.push_back(
        {text_of(edge, "from", what, true), text_of(edge, "to", what, true), text_of(edge, "kind", what, false)});
  }
  return Graph::explicit_graph(std::move(vertices), edges, options);
}

Graph build_graph(const ModelConfig& model) {
  try {
    if (model.topology.empty() && model.output != "first")
      throw ConfigError("model.output is for topologies like 1-2-1; in an explicit graph write the edges to head");
    GraphOptions options = graph_options(model);
    return model.topology.empty() ? parse_explicit(model.topology_json, options)
                                  : Graph::layered(model.topology, options);
  } catch (const ConfigError& error) {
    throw ConfigError(fmt::format("{}: model.topology: {}", model.where, error.what()));
  }
}

void resolve_backbone(const ModelConfig& model, ModelSpec& spec) {
  std::string where = model.where + ": model.backbone";
  if (model.backbone.empty()) {
    spec.backbone = BackboneConfig::from_json(model.backbone_json, where);
    return;
  }
  fs::path path = model.backbone;
  if (!fs::exists(path))
    throw ConfigError(fmt::format("{}: {} does not exist; give a checkpoint of topology 1, a config.json, or a mapping",
                                  where, path.string()));
  if (std::optional<fs::path> checkpoint = find_checkpoint(path)) {
    CheckpointReader reader(*checkpoint);
    ModelSpec saved = model_of_checkpoint(reader);
    if (saved.graph.vertices().size() != 1)
      throw ConfigError(fmt::format("{}: {} has topology {}; a backbone is a checkpoint of topology 1", where,
                                    checkpoint->string(), saved.graph.topology()));
    spec.backbone = saved.backbone;
    spec.weights = checkpoint;
    return;
  }
  if (fs::is_directory(path))
    throw ConfigError(
        fmt::format("{}: {} is no checkpoint; Hugging Face weights are planned, not built yet: name its "
                    "config.json for random weights",
                    where, path.string()));
  spec.backbone = BackboneConfig::from_json(read_text(path), path.string());
}

}  // namespace

std::optional<fs::path> find_checkpoint(const fs::path& path) {
  if (fs::exists(path / "manifest.json")) return path;
  std::vector<fs::path> all = list_checkpoints(path / "checkpoints");
  return all.empty() ? std::nullopt : std::optional(all.front());
}

fs::path require_checkpoint(const fs::path& path) {
  if (!fs::exists(path)) throw CheckpointError(fmt::format("{}: there is no such checkpoint or run", path.string()));
  if (std::optional<fs::path> checkpoint = find_checkpoint(path)) return *checkpoint;
  throw CheckpointError(
      fmt::format("{}: this is neither a complete checkpoint (a folder with manifest.json) nor a run "
                  "that saved one",
                  path.string()));
}

ModelSpec resolve_model(const ModelConfig& model) {
  ModelSpec spec;
  spec.graph = build_graph(model);
  spec.dtype =
      choose<at::ScalarType>(model.precision, {{"bf16", at::kBFloat16}, {"fp32", at::kFloat}, {"fp64", at::kDouble}});
  resolve_backbone(model, spec);
  return spec;
}

ModelSpec model_of_checkpoint(const CheckpointReader& checkpoint) {
  std::string where = (checkpoint.folder() / "config.yaml").string();
  try {
    ModelConfig model = parse_config(checkpoint.config_yaml(), where).model;
    model.backbone.clear();
    model.backbone_json = Json::parse(checkpoint.state_json()).at("backbone").dump();
    return resolve_model(model);
  } catch (const CheckpointError&) {
    throw;
  } catch (const std::exception& error) {  // what a run wrote must be readable: it is the checkpoint that is damaged
    throw CheckpointError(fmt::format("{}: {}", checkpoint.folder().string(), error.what()));
  }
}

void load_backbone(Optimizer& optimizer, const fs::path& checkpoint) {
  CheckpointReader reader(checkpoint);
  std::string group;
  for (const auto& [name, file] : reader.manifest().tensors)
    if (name.starts_with("vertices.")) group = name.substr(0, name.find('.', 9) + 1);
  for (const std::string& name : optimizer.names()) {
    if (optimizer.parameter(name).part == Parameter::Part::edges) continue;
    std::string source = name.starts_with("vertices.") ? group + name.substr(name.find('.', 9) + 1) : name;
    at::Tensor value = reader.read(source);
    if (value.sizes() != optimizer.state(name).value.sizes())
      throw CheckpointError(
          fmt::format("{}: tensor {} has another shape than {} of this network", checkpoint.string(), source, name));
    optimizer.assign(name, value);
  }
}

Trains parse_trains(const StageConfig& stage) {
  Trains trains;
  for (const std::string& part : stage.trains) {
    trains.edges |= part == "edges";
    trains.vertices |= part == "vertices";
    trains.embeddings |= part == "embeddings";
    trains.head |= part == "head";
  }
  return trains;
}

std::map<Parameter::Part, double> learning_rates(const StageConfig& stage) {
  std::map<Parameter::Part, double> rates;
  Trains stage_trains = parse_trains(stage);
  using enum Parameter::Part;
  for (Parameter::Part part : {edges, vertices, embeddings, head}) {
    if (!trains(stage_trains, part)) continue;
    auto rate = stage.lr.find(std::string(to_string(part)));
    rates[part] = rate == stage.lr.end() ? stage.lr.at("default") : rate->second;
  }
  return rates;
}

}  // namespace lmnet
