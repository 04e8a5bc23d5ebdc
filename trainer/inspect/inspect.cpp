#include "trainer/inspect/inspect.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>

#include "data/data_files.h"
#include "model/graph/errors.h"
#include "model/network.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/checkpoint/errors.h"
#include "trainer/checkpoint/file_io.h"
#include "trainer/describe.h"
#include "trainer/dtype.h"
#include "trainer/hugging_face/network_config.h"
#include "trainer/inspect/weights.h"
#include "trainer/model_spec.h"

namespace lmnet {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

/// What was found behind the path.
struct Subject {
  std::string kind;  // config, backbone, network or checkpoint
  fs::path path;
  ModelSpec spec;
  std::vector<StageConfig> stages;
  int64_t sequence_length = 0;  // 0 = not given
  std::optional<CheckpointReader> checkpoint;
};

Subject config_subject(const fs::path& file, const Config& config) {
  return {"config", file, resolve_model(config.model), config.train.stages, config.data.sequence_length, {}};
}

Subject checkpoint_subject(const fs::path& folder, bool verify) {
  if (verify) open_checkpoint(folder, /*verify=*/true);
  CheckpointReader reader(folder);
  if (verify) reader.verify_references();
  const Config config = config_of_checkpoint(reader);
  ModelSpec spec = model_of_checkpoint(reader);
  return {"checkpoint", folder, std::move(spec), config.train.stages, config.data.sequence_length, std::move(reader)};
}

constexpr const char* kDataWords = "data is inspected with --format (c4, alpaca, …) and --tokenizer";

/// A file that is data by its name; of .json there are configs too.
bool is_named_like_data(const fs::path& file) {
  constexpr std::array kinds = {".jsonl", ".ndjson", ".csv", ".tsv", ".txt", ".parquet"};
  const std::string kind = kind_of_name(file);
  return std::ranges::find(kinds, kind) != kinds.end() || (kind == ".json" && file.extension() != ".json");
}

/// A backbone's config.
BackboneConfig read_backbone(const std::string& text, const fs::path& file) {
  try {
    return BackboneConfig::from_json(text, file.string());
  } catch (const ConfigError& error) {
    const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (json.is_object() && json.contains("model_type")) throw;
    throw ConfigError(fmt::format("{}; {}", error.what(), kDataWords));
  }
}

/// A config.json: a backbone's, or that of a network as export wrote it.
Subject json_subject(const fs::path& file) {
  const std::string text = read_text(file);
  if (is_network_config(text))
    return {"network", file, resolve_model(read_network_config(text, file.string()).model), {}, 0, {}};
  ModelSpec spec;
  spec.shape.backbone = read_backbone(text, file);
  spec.graph = Graph::layered("1");
  return {"backbone", file, std::move(spec), {}, 0, {}};
}

void refuse_overrides(const fs::path& what, std::span<const std::string> overrides) {
  if (!overrides.empty())
    throw ConfigError(
        fmt::format("argument \"{}\": {} is no config, so nothing in it can be set", overrides.front(), what.string()));
}

Subject open_subject(const fs::path& what, std::span<const std::string> overrides, bool verify) {
  if (fs::is_directory(what)) {
    refuse_overrides(what, overrides);
    if (const auto checkpoint = find_checkpoint(what)) return checkpoint_subject(*checkpoint, verify);
    const bool unfinished = fs::exists(what / "state.json");  // a checkpoint that lost its manifest
    if (fs::exists(what / "config.yaml") && !unfinished) return config_subject(what, load_config(what / "config.yaml"));
    if (fs::exists(what / "config.json")) return json_subject(what / "config.json");
    throw CheckpointError(
        fmt::format("{}: this folder is no checkpoint, no run and no backbone: it has neither "
                    "manifest.json nor config.yaml nor config.json",
                    what.string()));
  }
  const std::string kind = what.extension().string();
  if (kind == ".h5")
    throw ConfigError(fmt::format("{}: inspecting {} files is planned, not built yet", what.string(), kind));
  if (fs::exists(what) && is_named_like_data(what))
    throw ConfigError(fmt::format("{}: this is no config; {}", what.string(), kDataWords));
  if (kind != ".json") return config_subject(what, load_config(what, overrides));
  refuse_overrides(what, overrides);
  if (!fs::exists(what)) throw ConfigError(fmt::format("{}: no such file", what.string()));
  return json_subject(what);
}

/// All groups that train in some stage.
Trains trains_ever(const std::vector<StageConfig>& stages) {
  StageConfig all;
  for (const StageConfig& stage : stages) all.trains.insert(all.trains.end(), stage.trains.begin(), stage.trains.end());
  return parse_trains(all);
}

Json checkpoint_json(const CheckpointReader& checkpoint, bool verified) {
  const Manifest& manifest = checkpoint.manifest();
  Json tensors = Json::array();
  for (const auto& [name, tensor] : manifest.tensors) {
    Json entry = {{"name", name},
                  {"dtype", dtype_name(tensor.dtype)},
                  {"crc32c", fmt::format("{:08x}", tensor.crc32c)},
                  {"shape", tensor.shape}};
    if (!tensor.reference.empty())
      entry["reference"] = tensor.reference;
    else if (tensor.pieces.size() == 1)
      entry["file"] = tensor.pieces.front().file;
    else
      for (const ManifestPiece& piece : tensor.pieces) entry["files"].push_back(piece.file);
    tensors.push_back(std::move(entry));
  }
  return {
      {"update", manifest.update}, {"stage", manifest.stage_name},
      {"tokens", manifest.tokens}, {"layout", {{"vertex", manifest.vertex_parallel}, {"data", manifest.data_parallel}}},
      {"verified", verified},      {"tensors", std::move(tensors)}};
}

Json to_json(const Subject& subject, bool verified) {
  const ModelSpec& spec = subject.spec;
  const ParameterCount count = count_parameters(spec.shape, spec.graph);
  Json json = {{"kind", subject.kind},
               {"path", subject.path.string()},
               {"topology", spec.graph.topology()},
               {"parameters",
                {{"total", count.total()},
                 {"trainable", count.trainable(trains_ever(subject.stages))},
                 {"vertex", count.vertex},
                 {"vertices", count.vertices},
                 {"edges", count.edges},
                 {"embeddings", count.embeddings},
                 {"head", count.head},
                 {"prefix", count.prefix},
                 {"edge", count.edge}}},
               {"backbone", Json::parse(spec.shape.backbone.to_json())}};
  if (!spec.shape.groups.empty()) json["group_backbones"] = group_backbones(spec.shape);
  if (spec.shape.classes > 0) json["classes"] = spec.shape.classes;
  if (subject.kind != "backbone") json["precision"] = dtype_name(spec.dtype);
  if (subject.sequence_length > 0) {
    json["sequence_length"] = subject.sequence_length;
    json["forward_flops_per_token"] = training_flops_per_token(spec, {}, subject.sequence_length);
  }
  for (const StageConfig& stage : subject.stages) {
    Json& entry = json["stages"].emplace_back(Json{{"name", stage.name}, {"trains", stage.trains}});
    entry["trainable"] = count.trainable(parse_trains(stage));
    if (subject.sequence_length > 0)
      entry["flops_per_token"] = training_flops_per_token(spec, parse_trains(stage), subject.sequence_length);
  }
  if (subject.checkpoint) json["checkpoint"] = checkpoint_json(*subject.checkpoint, verified);
  return json;
}

std::string checkpoint_text(const CheckpointReader& checkpoint, bool verified) {
  const Manifest& manifest = checkpoint.manifest();
  std::string text =
      fmt::format("update {} · {} · stage {} · saved by {} × {} rank{} (data × vertex){}\n", manifest.update,
                  short_count(static_cast<double>(manifest.tokens), "t"), manifest.stage_name, manifest.data_parallel,
                  manifest.vertex_parallel, manifest.data_parallel * manifest.vertex_parallel == 1 ? "" : "s",
                  verified ? " · every file is whole" : "");
  int64_t moments = 0;  // and master weights; they have their weights' shapes
  for (const auto& [name, tensor] : manifest.tensors) {
    if (name.find('@') != std::string::npos)
      ++moments;
    else
      text += fmt::format("  {:<56} {} [{}]\n", name, dtype_name(tensor.dtype), fmt::join(tensor.shape, ", "));
  }
  if (moments > 0) text += fmt::format("  and {} of the optimiser's state\n", counted(moments, "tensor"));
  return text;
}

std::string backbone_line(const std::string& what, const BackboneConfig& b) {
  return fmt::format("{} {}: {} of {}, {} for {}, feed-forward {}, vocabulary {}{}\n", what, to_string(b.family),
                     counted(b.blocks, "block"), b.hidden_size, counted(b.heads, "head"), counted(b.kv_heads, "key"),
                     b.intermediate_size, b.vocabulary, b.tied ? ", tied head" : "");
}

std::string to_text(const Subject& subject, bool verified) {
  const ModelSpec& spec = subject.spec;
  std::string text = fmt::format("{} {}\n", subject.kind, subject.path.string());
  text += backbone_line("backbone", spec.shape.backbone);
  for (const auto& [group, backbone] : spec.shape.groups) text += backbone_line("backbone of " + group, backbone);
  if (spec.shape.classes > 0) text += fmt::format("head of {} classes\n", spec.shape.classes);
  text += draw_topology(spec.graph) + parameter_table(spec, subject.stages);
  for (const auto& [kinds, parameters] : count_parameters(spec.shape, spec.graph).edge)
    text += fmt::format("  one edge {}: {}\n", kinds, parameters);
  for (const StageConfig& stage : subject.stages) {
    if (subject.sequence_length == 0) break;
    const double flops = training_flops_per_token(spec, parse_trains(stage), subject.sequence_length);
    text += fmt::format("  stage {}: {} a token at {} tokens\n", stage.name, short_count(flops, "FLOP"),
                        subject.sequence_length);
  }
  return subject.checkpoint ? text + checkpoint_text(*subject.checkpoint, verified) : text;
}

}  // namespace

std::string inspect(const fs::path& what, std::span<const std::string> overrides, const InspectOptions& options) {
  if (!fs::is_directory(what) && has_safetensors(what)) {
    refuse_overrides(what, overrides);
    return inspect_weights(what, options);
  }
  const Subject subject = open_subject(what, overrides, options.verify);
  const bool verified = options.verify && subject.checkpoint;
  const bool hugging_face = subject.kind == "backbone" || subject.kind == "network";
  const std::string weights = hugging_face && has_safetensors(what) ? inspect_weights(what, options) : "";
  if (!options.json) return to_text(subject, verified) + weights;
  Json json = to_json(subject, verified);
  if (!weights.empty()) json["weights"] = Json::parse(weights);
  return json.dump() + "\n";
}

}  // namespace lmnet
