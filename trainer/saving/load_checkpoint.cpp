#include "trainer/saving/load_checkpoint.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>
#include <set>

#include "trainer/checkpoint/errors.h"
#include "trainer/saving/saved_tensors.h"

namespace lmnet {
namespace {

/// The optimiser's state belongs to parameters by name, and to no others than it was saved for.
void require_same_trained(const CheckpointReader& checkpoint, const Optimizer& optimizer) {
  std::set<std::string> now;
  for (const auto& [part, steps] : optimizer.steps()) now.emplace(to_string(part));
  const std::set<std::string> saved(checkpoint.manifest().trains.begin(), checkpoint.manifest().trains.end());
  if (now == saved) return;
  throw CheckpointError(
      fmt::format("{}: the optimiser's state is of {}, but {} train now; begin a new run (run.name) from its weights "
                  "alone",
                  checkpoint.folder().string(), fmt::join(saved, ", "), fmt::join(now, ", ")));
}

void load_kept(const CheckpointReader& checkpoint, Optimizer& optimizer, const std::string& name) {
  const Shard kept = optimizer.kept(name);
  if (kept.size() == 0) return;
  for (const Optimizer::Kind kind : optimizer.kept_kinds())
    optimizer.assign_kept(name, kind, checkpoint.read(name + suffix_of(kind), kept.begin, kept.end));
}

}  // namespace

void load_checkpoint(const CheckpointReader& checkpoint, Optimizer& optimizer, bool moments, const Advance& advance) {
  if (moments) require_same_trained(checkpoint, optimizer);
  const std::vector<std::string> names = optimizer.names();
  int64_t done = 0;
  for (const std::string& name : names) {
    const at::Tensor value = checkpoint.read(name);
    require_shape(value, optimizer.value(name).sizes(),
                  fmt::format("{}: tensor {}", checkpoint.folder().string(), name));
    optimizer.assign(name, value);
    if (moments) load_kept(checkpoint, optimizer, name);
    advance(++done, static_cast<int64_t>(names.size()));
  }
  if (!moments) return;
  const auto state = nlohmann::json::parse(checkpoint.state_json());
  const auto saved = state.value("optimizer_steps", nlohmann::json::object());
  std::map<Parameter::Part, int64_t> steps;
  for (const auto& [part, unused] : optimizer.steps())
    steps[part] = saved.value(std::string(to_string(part)), int64_t{0});
  optimizer.set_steps(std::move(steps));
}

}  // namespace lmnet
