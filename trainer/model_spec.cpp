#include "trainer/model_spec.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "model/graph/errors.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/checkpoint/errors.h"
#include "trainer/dtype.h"
#include "trainer/explicit_graph.h"

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
  options.edge = model.edge;
  options.input_edge = model.input_edge;
  options.residual = model.residual == "first";
  return options;
}

std::string place(const ModelConfig& model, const char* key) {
  return fmt::format("{}: model.{}", model.where, key);
}

Graph build_graph(const ModelConfig& model, const ExplicitGraph& parsed) {
  const GraphOptions options = graph_options(model);
  if (!model.topology.empty()) return Graph::layered(model.topology, options);
  if (model.output != "first" || model.residual != "none")
    throw ConfigError(fmt::format(
        "model.output and model.residual are for topologies like 1-2-1: in an explicit graph write the edges to head "
        "and set model.output to first, model.residual to none{}",
        model.preset == "none" ? "" : fmt::format(" (model.preset {} sets others)", model.preset)));
  return Graph::explicit_graph(parsed.vertices, parsed.edges, options);
}

Backbone named_backbone(const std::string& path, const std::string& json, const std::string& where) {
  if (path.empty() && json.empty()) throw ConfigError(where + " is missing, give a path or a mapping");
  return path.empty() ? Backbone{BackboneConfig::from_json(json, where), {}} : open_backbone(path, where);
}

/// The backbones that vertices of the graph name, by group.
void open_group_backbones(const ModelConfig& model, const ExplicitGraph& parsed, ModelSpec& spec) {
  for (const Vertex& vertex : spec.graph.vertices()) {
    const auto found = parsed.backbones.find(vertex.group);
    if (found == parsed.backbones.end() || spec.shape.groups.contains(vertex.group)) continue;
    const Json& source = found->second;
    const std::string path = source.is_string() ? source.get<std::string>() : "";
    const std::string where = fmt::format("{}: backbone of group {}", place(model, "topology"), vertex.group);
    Backbone backbone = named_backbone(path, path.empty() ? source.dump() : "", where);
    if (backbone.config.hidden_size != spec.shape.backbone.hidden_size)
      throw ConfigError(fmt::format(
          "{}: its hidden_size is {}, that of model.backbone {}: all vertices of a network are of one width", where,
          backbone.config.hidden_size, spec.shape.backbone.hidden_size));
    spec.shape.groups[vertex.group] = std::move(backbone.config);
    spec.group_files[vertex.group] = std::move(backbone.files);
  }
}

/// Of a parameter of a vertex its group, and its name within.
std::pair<std::string, std::string> split_vertex_name(const std::string& name) {
  constexpr size_t begin = std::string_view("vertices.").size();
  const size_t end = name.find('.', begin);
  return {name.substr(begin, end - begin), name.substr(end + 1)};
}

}  // namespace

std::optional<fs::path> find_checkpoint(const fs::path& path) {
  if (!fs::is_directory(path)) return std::nullopt;
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
  ExplicitGraph parsed;
  try {
    if (model.topology.empty()) parsed = parse_explicit_graph(model.topology_json);
    spec.graph = build_graph(model, parsed);
  } catch (const ConfigError& error) {
    throw ConfigError(fmt::format("{}: {}", place(model, "topology"), error.what()));
  }
  spec.dtype = dtype_named(model.precision);
  Backbone backbone = named_backbone(model.backbone, model.backbone_json, place(model, "backbone"));
  spec.shape.backbone = std::move(backbone.config);
  spec.files = std::move(backbone.files);
  spec.shape.prefix = model.prefix;
  spec.shape.classes = model.classes;
  open_group_backbones(model, parsed, spec);
  return spec;
}

Config config_of_checkpoint(const CheckpointReader& checkpoint) {
  try {
    return parse_config(checkpoint.config_yaml(), (checkpoint.folder() / "config.yaml").string());
  } catch (const ConfigError& error) {  // what a run wrote must be readable: it is the checkpoint that is damaged
    throw CheckpointError(error.what());
  }
}

ModelSpec model_of_checkpoint(const CheckpointReader& checkpoint) {
  try {
    ModelConfig model = config_of_checkpoint(checkpoint).model;
    const Json state = Json::parse(checkpoint.state_json());
    model.backbone.clear();
    model.backbone_json = state.at("backbone").dump();
    if (model.topology.empty())
      model.topology_json = with_backbones(model.topology_json, state.value("group_backbones", Json::object()));
    ModelSpec spec = resolve_model(model);
    spec.files = {BackboneFiles::Kind::none, checkpoint.folder()};
    return spec;
  } catch (const CheckpointError&) {
    throw;
  } catch (const std::exception& error) {
    throw CheckpointError(fmt::format("{}: {}", checkpoint.folder().string(), error.what()));
  }
}

BackboneOf backbone_of(const ModelSpec& spec, Parameter::Part part, const std::string& name) {
  using enum Parameter::Part;
  if (part == edges || part == prefix || (part == head && spec.shape.classes > 0)) return {};
  const std::string group = part == vertices ? split_vertex_name(name).first : "";
  if (spec.shape.groups.contains(group)) return {group, &spec.group_files.at(group)};
  return {"", &spec.files};
}

void load_backbones(Optimizer& optimizer, const ModelSpec& spec, const Advance& advance) {
  std::map<std::string, ReadBackbone> opened;  // by group; the main backbone's stand under ""
  const std::vector<std::string> names = optimizer.names();
  for (size_t i = 0; i < names.size(); ++i) {
    if (advance) advance(static_cast<int64_t>(i) + 1, static_cast<int64_t>(names.size()));
    const std::string& name = names[i];
    const Parameter::Part part = optimizer.parameter(name).part;
    const auto [group, files] = backbone_of(spec, part, name);
    if (files == nullptr || files->kind == BackboneFiles::Kind::none) continue;
    ReadBackbone& read = opened[group];
    if (!read) read = open_weights(*files, group.empty() ? spec.shape.backbone : spec.shape.groups.at(group));
    const std::string inner = part == Parameter::Part::vertices ? split_vertex_name(name).second : name;
    const at::Tensor value = read(inner);
    require_shape(value, optimizer.value(name).sizes(), fmt::format("tensor {} of the backbone", inner));
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
    trains.prefix |= part == "prefix";
  }
  return trains;
}

std::map<Parameter::Part, double> learning_rates(const StageConfig& stage) {
  std::map<Parameter::Part, double> rates;
  Trains stage_trains = parse_trains(stage);
  using enum Parameter::Part;
  for (Parameter::Part part : {edges, vertices, embeddings, head, prefix}) {
    if (!trains(stage_trains, part)) continue;
    auto rate = stage.lr.find(std::string(to_string(part)));
    rates[part] = rate == stage.lr.end() ? stage.lr.at("default") : rate->second;
  }
  return rates;
}

}  // namespace lmnet
