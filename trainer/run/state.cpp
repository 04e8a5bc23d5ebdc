#include "trainer/run/state.h"

#include <fmt/format.h>

#include <exception>
#include <nlohmann/json.hpp>

#include "trainer/checkpoint/errors.h"
#include "trainer/hugging_face/network_config.h"

namespace lmnet {
namespace {

nlohmann::json progress(const Progress& p) {
  return {{"updates", p.updates}, {"tokens", p.tokens}};
}

Progress progress(const nlohmann::json& json) {
  return {json.at("updates"), json.at("tokens")};
}

}  // namespace

std::string to_json(const RunState& state, const NetworkShape& shape, const std::map<Parameter::Part, int64_t>& steps) {
  nlohmann::json json{{"run", progress(state.run)},
                      {"stage", state.stage},
                      {"in_stage", progress(state.in_stage)},
                      {"restart", state.restart},
                      {"seed", state.seed},
                      {"streams", state.streams},
                      {"guard", state.guard},
                      {"evaluation_due", state.evaluation_due},
                      {"backbone", nlohmann::json::parse(shape.backbone.to_json())}};
  if (!shape.groups.empty()) json["group_backbones"] = group_backbones(shape);
  for (const auto& [part, count] : steps) json["optimizer_steps"][std::string(to_string(part))] = count;
  for (const StreamState& stream : state.stream_states)
    json["stream_positions"][std::to_string(stream.stream)] = nlohmann::json::parse(stream.position);
  return json.dump(1);
}

RunState parse_state(const CheckpointReader& checkpoint) {
  try {
    nlohmann::json json = nlohmann::json::parse(checkpoint.state_json());
    RunState state{progress(json.at("run")),
                   json.at("stage"),
                   progress(json.at("in_stage")),
                   json.at("restart"),
                   json.at("streams"),
                   json.at("seed"),
                   {},
                   json.value("guard", nlohmann::json()),
                   json.value("evaluation_due", false)};
    nlohmann::json positions = json.value("stream_positions", nlohmann::json::object());
    for (const auto& [stream, position] : positions.items())
      state.stream_states.push_back({std::stoll(stream), position.dump()});
    return state;
  } catch (const CheckpointError&) {
    throw;
  } catch (const std::exception& error) {
    throw CheckpointError(fmt::format("{}: {}", (checkpoint.folder() / "state.json").string(), error.what()));
  }
}

}  // namespace lmnet
