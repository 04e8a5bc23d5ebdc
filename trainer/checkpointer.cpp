#include "trainer/checkpointer.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <exception>
#include <nlohmann/json.hpp>

#include "trainer/checkpoint/errors.h"
#include "trainer/together.h"

namespace lmnet {
namespace {

using Json = nlohmann::json;

/// Each tensor is written by its first holder in the first replica. Since others may own parts of it, all ranks take
/// part to the end, also where one could not write.
void add_tensors(CheckpointWriter& writer, Engine& engine) {
  Optimizer& optimizer = engine.optimizer();
  std::exception_ptr failure;
  const auto add = [&](Optimizer::Kind kind, const char* suffix) {
    optimizer.visit(kind, [&](const std::string& name, const at::Tensor& whole) {
      const Parameter& parameter = optimizer.parameter(name);
      if (failure || engine.mesh().dp_rank != 0 || parameter.holders.front() != engine.mesh().vp_rank) return;
      try {
        writer.add(*suffix == '\0' ? file_kind(parameter.part) : "optimizer", name + suffix, whole.cpu());
      } catch (...) {
        failure = std::current_exception();
      }
    });
  };
  add(Optimizer::Kind::value, "");
  add(Optimizer::Kind::exp_avg, "@exp_avg");
  add(Optimizer::Kind::exp_avg_sq, "@exp_avg_sq");
  if (failure) std::rethrow_exception(failure);
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
    const at::Tensor held = optimizer.value(name);
    const auto load = [&](const std::string& tensor, Optimizer::Kind kind) {
      const at::Tensor value = checkpoint.read(tensor);
      require_shape(value, held.sizes(), fmt::format("{}: tensor {}", checkpoint.folder().string(), tensor));
      optimizer.assign(name, value, kind);
    };
    load(name, Optimizer::Kind::value);
    if (!moments || !optimizer.has_moments(name)) continue;
    load(name + "@exp_avg", Optimizer::Kind::exp_avg);
    load(name + "@exp_avg_sq", Optimizer::Kind::exp_avg_sq);
  }
  if (!moments) return;
  std::map<Parameter::Part, int64_t> steps;
  Json json = Json::parse(checkpoint.state_json()).value("optimizer_steps", Json::object());
  for (const auto& [part, unused] : optimizer.steps())
    steps[part] = json.value(std::string(to_string(part)), int64_t{0});
  optimizer.set_steps(std::move(steps));
}

}  // namespace lmnet
