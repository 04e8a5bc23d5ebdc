#include "trainer/checkpointer.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "trainer/checkpoint/errors.h"
#include "trainer/hugging_face/network_config.h"
#include "trainer/together.h"

namespace lmnet {
namespace {

using Json = nlohmann::json;

Json progress(const Progress& p) {
  return {{"updates", p.updates}, {"tokens", p.tokens}};
}

Progress progress(const Json& json) {
  return {json.at("updates"), json.at("tokens")};
}

void add_tensors(CheckpointWriter& writer, Engine& engine) {
  if (engine.mesh().dp_rank != 0) return;
  for (const std::string& name : engine.optimizer().names()) {
    const Parameter& parameter = engine.optimizer().parameter(name);
    if (parameter.holders.front() != engine.mesh().vp_rank) continue;
    Optimizer::State state = engine.optimizer().state(name);
    writer.add(file_kind(parameter.part), name, state.value);
    if (!state.exp_avg.defined()) continue;
    writer.add("optimizer", name + "@exp_avg", state.exp_avg);
    writer.add("optimizer", name + "@exp_avg_sq", state.exp_avg_sq);
  }
}

}  // namespace

const char* file_kind(Parameter::Part part) {
  switch (part) {
    case Parameter::Part::edges:
      return "edges";
    case Parameter::Part::vertices:
      return "vertices";
    default:
      return "embeddings";
  }
}

std::string to_json(const RunState& state, const NetworkShape& shape, const std::map<Parameter::Part, int64_t>& steps) {
  Json json{{"run", progress(state.run)},
            {"stage", state.stage},
            {"in_stage", progress(state.in_stage)},
            {"restart", state.restart},
            {"seed", state.seed},
            {"streams", state.streams},
            {"backbone", Json::parse(shape.backbone.to_json())}};
  if (!shape.groups.empty()) json["group_backbones"] = group_backbones(shape);
  for (const auto& [part, count] : steps) json["optimizer_steps"][std::string(to_string(part))] = count;
  for (const StreamState& stream : state.stream_states)
    json["stream_positions"][std::to_string(stream.stream)] = Json::parse(stream.position);
  return json.dump(1);
}

RunState parse_state(const CheckpointReader& checkpoint) {
  try {
    Json json = Json::parse(checkpoint.state_json());
    RunState state{progress(json.at("run")),
                   json.at("stage"),
                   progress(json.at("in_stage")),
                   json.at("restart"),
                   json.at("streams"),
                   json.at("seed"),
                   {}};
    Json positions = json.value("stream_positions", Json::object());
    for (const auto& [stream, position] : positions.items())
      state.stream_states.push_back({std::stoll(stream), position.dump()});
    return state;
  } catch (const CheckpointError&) {
    throw;
  } catch (const std::exception& error) {
    throw CheckpointError(fmt::format("{}: {}", (checkpoint.folder() / "state.json").string(), error.what()));
  }
}

std::filesystem::path save_checkpoint(const std::filesystem::path& dir, Engine& engine, RunState state,
                                      const std::vector<StreamState>& streams, const std::string& config_yaml,
                                      const std::string& stage_name, const TextFiles& tokenizer) {
  Communicator& world = *engine.mesh().world;
  nlohmann::ordered_json mine = nlohmann::ordered_json::object();
  for (const StreamState& stream : streams) mine[std::to_string(stream.stream)] = stream.position;
  for (const auto& of_rank : gather_json(world, mine))
    for (const auto& [stream, position] : of_rank.items())
      state.stream_states.push_back({std::stoll(stream), position.get<std::string>()});
  CheckpointWriter writer(dir, state.run.updates, world.rank());
  std::filesystem::path folder;
  together(world, [&] {
    if (world.rank() == 0) writer.prepare();
  });
  together(world, [&] {
    add_tensors(writer, engine);
    writer.hand_in();
  });
  together(world, [&] {
    if (world.rank() != 0) return;
    Manifest manifest;
    manifest.stage = state.stage;
    manifest.stage_name = stage_name;
    manifest.tokens = static_cast<uint64_t>(state.run.tokens);
    manifest.vertex_parallel = engine.mesh().vp_size;
    manifest.data_parallel = engine.mesh().dp_size;
    manifest.topology = engine.network().graph().topology();
    manifest.plan_hash = fmt::format("{:016x}", engine.plan().hash());
    writer.finish(manifest, config_yaml, to_json(state, engine.network().shape(), engine.optimizer().steps()),
                  tokenizer);
  });
  return dir / folder_name(state.run.updates);
}

void load_checkpoint(const CheckpointReader& checkpoint, Optimizer& optimizer, bool moments) {
  for (const std::string& name : optimizer.names()) {
    Optimizer::State state = optimizer.state(name);
    at::Tensor value = checkpoint.read(name);
    require_shape(value, state.value.sizes(), fmt::format("{}: tensor {}", checkpoint.folder().string(), name));
    optimizer.assign(name, value);
    if (!moments || !state.exp_avg.defined()) continue;
    checkpoint.read_into(name + "@exp_avg", state.exp_avg);
    checkpoint.read_into(name + "@exp_avg_sq", state.exp_avg_sq);
  }
  if (!moments) return;
  std::map<Parameter::Part, int64_t> steps;
  Json json = Json::parse(checkpoint.state_json()).value("optimizer_steps", Json::object());
  for (const auto& [part, unused] : optimizer.steps())
    steps[part] = json.value(std::string(to_string(part)), int64_t{0});
  optimizer.set_steps(std::move(steps));
}

}  // namespace lmnet
