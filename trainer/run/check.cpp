#include "trainer/run/check.h"

#include <fmt/format.h>

#include <algorithm>

#include "model/graph/errors.h"
#include "model/network.h"
#include "trainer/cost/table.h"
#include "trainer/describe.h"
#include "trainer/schedule.h"
#include "trainer/sources.h"
#include "trainer/tokenizer_files.h"

namespace lmnet {
namespace {

/// Whether each stage trains something, for a length that can be counted.
void check_stages(const Config& config, const ModelSpec& spec) {
  ParameterCount count = count_parameters(spec.shape, spec.graph);
  const BackboneConfig& backbone = spec.shape.backbone;
  const auto longest = spec.shape.longest();
  if (backbone.gpt2() && longest && config.data.sequence_length > *longest)
    throw ConfigError(
        fmt::format("{}: data.sequence_length is {}, but the {} positions that the backbone has learned "
                    "leave room for {} beside the prefix of {}",
                    config.where, config.data.sequence_length, backbone.positions, *longest, spec.shape.prefix));
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

void check_documents(const Config& config) {
  if (config.data.documents.value_or(false) && config.data.packing && config.model.prefix > 0)
    throw ConfigError(fmt::format(
        "{}: data.documents is true, but model.input.prefix stands before the first document of a row only: "
        "set data.packing: false, so that each document has a row and the prefix of its own, or one of "
        "the two keys to false or 0",
        config.where));
}

/// Whether sources that all have a limit in tokens last for the run.
void check_limits(const Config& config) {
  double allowed = 0;
  for (const SourceConfig& source : config.data.train) {
    if (source.tokens.value == 0) return;
    allowed += source.tokens.value;
  }
  const int64_t each = config.train.global_batch * config.data.sequence_length;
  int64_t wanted = 0;
  for (const StageConfig& stage : config.train.stages) wanted += Schedule(stage, each).updates() * each;
  if (static_cast<double>(wanted) > allowed)
    throw ConfigError(
        fmt::format("{}: data.train allows {} of its sources, but train.stages take {}: raise the tokens "
                    "of a source or lower until",
                    config.where, short_count(allowed, "t"), short_count(static_cast<double>(wanted), "t")));
}

}  // namespace

void check_layout(const Config& config, int ranks) {
  const int vp = config.parallel.vertex;
  const auto start = [](int64_t number) {
    return fmt::format("start it with mpirun -np {0} (--dry-run: --ranks {0})", number);
  };
  if (ranks % vp != 0)
    throw ConfigError(fmt::format("{}: parallel.vertex {} does not divide the {} ranks: {}, or change it", config.where,
                                  vp, ranks, start((ranks / vp + 1) * vp)));
  const int64_t dp = ranks / vp;
  if (config.parallel.data && *config.parallel.data != dp)
    throw ConfigError(
        fmt::format("{}: parallel.data is {}, but {} ranks with parallel.vertex {} give {}: {}, or "
                    "change it",
                    config.where, *config.parallel.data, ranks, vp, dp, start(int64_t{*config.parallel.data} * vp)));
  if (config.train.global_batch % (std::max<int64_t>(1, config.train.micro_batch) * dp) != 0)
    throw ConfigError(
        fmt::format("{}: train.global_batch {} is no multiple of train.micro_batch {} times {} replicas: "
                    "change one of them or the number of ranks",
                    config.where, config.train.global_batch, config.train.micro_batch, dp));
  if (config.data.streams && config.train.global_batch % *config.data.streams != 0)
    throw ConfigError(fmt::format("{}: data.streams {} does not divide train.global_batch {}", config.where,
                                  *config.data.streams, config.train.global_batch));
}

RunSpec check_run(const Config& config, int ranks) {
  if (config.model.classes > 0)
    throw ConfigError(fmt::format("{}: model.classes is {}: data with classes is planned, not built yet; set it to 0",
                                  config.where, config.model.classes));
  require_trainable(config);
  check_layout(config, ranks);
  RunSpec run{resolve_model(config.model), nullptr};
  const NetworkShape& shape = run.model.shape;
  run.tokenizer = make_tokenizer(tokenizer_name(config.data, run.model));
  const bool has_weights = run.model.files.kind == BackboneFiles::Kind::hugging_face;
  if (config.data.tokenizer == "auto" && has_weights && !has_tokenizer(run.model.files.path))
    throw ConfigError(
        fmt::format("{}: {} holds a backbone without its tokenizer's files; name their folder at data.tokenizer, or "
                    "bytes if it was trained on bytes",
                    config.where, run.model.files.path.string()));
  if (run.tokenizer->vocabulary() > shape.backbone.vocabulary)
    throw ConfigError(fmt::format("{}: the tokenizer {} has {} ids, the backbone's vocab_size is only {}", config.where,
                                  run.tokenizer->name(), run.tokenizer->vocabulary(), shape.backbone.vocabulary));
  check_stages(config, run.model);
  check_documents(config);
  check_limits(config);
  for (const auto* list : {&config.data.train, &config.data.validation}) sources(config.data, *list);
  return run;
}

Plan plan_of(const ModelSpec& spec, const Config& config, int ranks, const Trains& trains) {
  return Plan(spec.graph, config.parallel.vertex, ranks / config.parallel.vertex, trains, spec.shape.tied());
}

std::string describe_run(const Config& config, int ranks, const MachineOptions& machine) {
  MachineOptions imagined = machine;
  if (imagined.device.empty() && config.parallel.device == "cuda") imagined.device = kUsualGpu;
  const DeviceSpec device = device_spec(imagined);
  const RunSpec run = check_run(config, ranks);
  const ModelSpec& spec = run.model;
  std::string text = draw_topology(spec.graph) + parameter_table(spec, config.train.stages);
  text += fmt::format("tokenizer {} · {} ids\n", run.tokenizer->name(), run.tokenizer->vocabulary());
  for (const StageConfig& stage : config.train.stages) text += stage_table(config, spec, ranks, stage, device);
  return text;
}

}  // namespace lmnet
