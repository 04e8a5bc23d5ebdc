#include "trainer/run_check.h"

#include <fmt/format.h>

#include <algorithm>

#include "model/graph/errors.h"
#include "model/network.h"
#include "trainer/describe.h"
#include "trainer/schedule.h"

namespace lmnet {

void check_layout(const Config& config, int ranks) {
  int vp = config.parallel.vertex;
  if (ranks % vp != 0)
    throw ConfigError(
        fmt::format("{}: parallel.vertex {} does not divide the {} ranks; start a multiple of {} ranks or "
                    "change it",
                    config.where, vp, ranks, vp));
  int64_t dp = ranks / vp;
  if (config.parallel.data && *config.parallel.data != dp)
    throw ConfigError(fmt::format("{}: parallel.data is {}, but {} ranks with parallel.vertex {} give {}", config.where,
                                  *config.parallel.data, ranks, vp, dp));
  if (config.train.global_batch % (std::max<int64_t>(1, config.train.micro_batch) * dp) != 0)
    throw ConfigError(fmt::format("{}: train.global_batch {} is no multiple of train.micro_batch {} times {} replicas",
                                  config.where, config.train.global_batch, config.train.micro_batch, dp));
  if (config.data.streams && config.train.global_batch % *config.data.streams != 0)
    throw ConfigError(fmt::format("{}: data.streams {} does not divide train.global_batch {}", config.where,
                                  *config.data.streams, config.train.global_batch));
}

void check_stages(const Config& config, const ModelSpec& spec) {
  ParameterCount count = count_parameters(spec.shape, spec.graph);
  const BackboneConfig& backbone = spec.shape.backbone;
  if (backbone.gpt2() && config.data.sequence_length > backbone.positions)
    throw ConfigError(fmt::format("{}: data.sequence_length is {}, the backbone has learned {} positions only",
                                  config.where, config.data.sequence_length, backbone.positions));
  for (const StageConfig& stage : config.train.stages) {
    Schedule(stage, config.train.global_batch * config.data.sequence_length);
    Trains trains = parse_trains(stage);
    if (trains.head && spec.shape.tied())
      throw ConfigError(
          fmt::format("{}: train.stages: {}: the head is tied to the embedding; name embeddings in "
                      "trains, not head",
                      config.where, stage.name));
    if (trains.prefix && spec.shape.prefix == 0)
      throw ConfigError(fmt::format("{}: train.stages: {}: there is no prefix to train; set model.input.prefix",
                                    config.where, stage.name));
    if (count.trainable(trains) == 0)
      throw ConfigError(fmt::format("{}: train.stages: {}: nothing of what it trains has weights in topology {}",
                                    config.where, stage.name, spec.graph.topology()));
  }
}

Plan plan_of(const ModelSpec& spec, const Config& config, int ranks, const Trains& trains) {
  return Plan(spec.graph, config.parallel.vertex, ranks / config.parallel.vertex, trains, spec.shape.tied());
}

std::string describe_run(const Config& config, int ranks) {
  require_trainable(config);
  check_layout(config, ranks);
  ModelSpec spec = resolve_model(config.model);
  check_stages(config, spec);
  std::string text = draw_topology(spec.graph) + parameter_table(spec, config.train.stages);
  for (const StageConfig& stage : config.train.stages) {
    Trains trains = parse_trains(stage);
    Plan plan = plan_of(spec, config, ranks, trains);
    text += fmt::format("stage {}: {}", stage.name, plan.describe(config.train.micro_batch));
    text += fmt::format("  weights and optimiser: {} on the fullest rank · {} FLOP a token\n",
                        gib(static_cast<double>(weight_bytes(spec, plan, trains))),
                        short_count(training_flops_per_token(spec, trains, config.data.sequence_length)));
  }
  return text;
}

}  // namespace lmnet
