#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/graph/graph.h"

namespace lmnet {

/// A length of training: `2000u` updates, `20Gt` tokens, `3e` epochs, `24h` time.
struct Span {
  enum class Unit { updates, tokens, epochs, seconds };
  double value = 0;
  Unit unit = Unit::updates;
  bool operator==(const Span&) const = default;
};

struct RunConfig {
  std::string name;
  std::filesystem::path dir = "runs";
  uint64_t seed = 1;
  std::string resume = "auto";  // auto | never | the path of a checkpoint or run
  std::optional<Span> time_limit;
  std::filesystem::path folder() const { return dir / name; }
  bool operator==(const RunConfig&) const = default;
};

/// Weights that a new run takes out of checkpoints (paths of checkpoints or runs), by part.
struct LoadConfig {
  std::optional<std::string> edges, vertices, embeddings, head, prefix;
  std::optional<std::string> all;  // of the parts that are not named
  std::vector<std::string> allow;  // topology | tokenizer: what may differ there
  bool operator==(const LoadConfig&) const = default;
};

struct ModelConfig {
  std::string backbone;         // a path (Hugging Face folder, checkpoint of topology 1, config.json); empty: a mapping
  std::string backbone_json;    // the mapping as JSON text; empty when given as a path
  std::string topology = "1";   // the string; empty when an explicit graph is given
  std::string topology_json;    // the explicit graph {vertices: …, edges: …} as JSON text, in the order written
  std::string sharing = "all";  // all | level | none | groups
  std::string preset = "none";  // whose defaults the other keys had
  EdgeKinds edge = {EdgeKind::block};
  std::string aggregation = "mean";  // sum | mean
  int64_t prefix = 0;                // vectors before the tokens
  EdgeKinds input_edge;
  std::string residual = "none";   // none | first
  std::string output = "first";    // first | mean | sum
  int64_t classes = 0;             // 0 = a language head
  std::string precision = "bf16";  // bf16 | fp32 | fp64
  LoadConfig load;
  std::string where;  // file:line of `model`, for errors about the topology
  bool operator==(const ModelConfig&) const = default;
};

struct SourceConfig {
  std::string name;                            // of data.registry, instead of path, format and columns
  std::vector<std::string> path;               // files, globs and folders
  std::string format;                          // a name; empty when format_json holds a format of its own
  std::string format_json;                     // that one, as JSON text
  std::map<std::string, std::string> columns;  // where the data keeps what the format calls so
  double weight = 1;
  int64_t epochs = 0;  // times each record is taken at most; 0 = no limit
  Span tokens;         // the most that is taken of it; 0 = no limit
  std::string where;   // file:line and key path, for errors found when the source is opened
  bool operator==(const SourceConfig&) const = default;
};

struct DataConfig {
  std::string tokenizer = "auto";  // auto | bytes | a path
  int64_t sequence_length = 0;
  std::optional<int64_t> streams;  // empty = auto
  int readers = 2;                 // threads of each rank that reads
  bool packing = true;
  std::optional<bool> documents;   // empty = auto
  std::string formats;             // a file of formats beside those that come with LMNet
  std::string registry;            // a file of sources with names
  bool skip_bad_records = false;   // otherwise they end the run
  int64_t bad_record_limit = 100;  // of a run
  std::vector<SourceConfig> train;
  std::vector<SourceConfig> validation;
  bool operator==(const DataConfig&) const = default;
};

enum class ScheduleKind { constant, linear, cosine };

struct StageConfig {
  std::string name;
  std::vector<std::string> trains;  // edges | vertices | embeddings | head | prefix
  Span until;
  std::map<std::string, double> lr;  // by trained group, "default" for the rest
  ScheduleKind schedule = ScheduleKind::constant;
  Span warmup;
  bool operator==(const StageConfig&) const = default;
};

/// What weight decay acts on: matrices (no norm, no bias), weights (everything but biases), or all.
enum class Decays { matrices, weights, all };

struct OptimizerConfig {
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8, weight_decay = 0.1;
  Decays decays = Decays::matrices;
  bool operator==(const OptimizerConfig&) const = default;
};

struct LossConfig {
  double label_smoothing = 0;
  double epsilon = 0;  // loss = Σ / (number of targets + epsilon)
  bool operator==(const LossConfig&) const = default;
};

/// What counts as a spike of loss or gradient norm.
struct SpikeConfig {
  int64_t window = 128;  // updates
  double sigma = 6;      // standard deviations above their mean
  bool operator==(const SpikeConfig&) const = default;
};

struct TrainConfig {
  int64_t global_batch = 0;  // sequences in one update
  int64_t micro_batch = 0;   // sequences of one replica in one forward; 0 = not given
  std::vector<StageConfig> stages;
  OptimizerConfig optimizer;
  double clip = 1.0;  // 0 = off
  LossConfig loss;
  std::string on_nan = "stop";    // stop | skip
  std::string on_spike = "none";  // none | skip | stop
  SpikeConfig spike;
  int64_t skip_limit = 10;  // updates in a row
  bool operator==(const TrainConfig&) const = default;
};

struct ParallelConfig {
  int vertex = 1;
  std::optional<int> data;       // empty = auto
  std::string backend = "auto";  // auto | mpi | nccl
  std::string device = "auto";   // auto | cpu | cuda
  int zero = 1;                  // 1 = optimiser states are sharded over the replica group of each parameter
  bool overlap = true;
  /// Seconds for which a rank may see nothing move, by what the ranks do meanwhile.
  struct Timeouts {
    double start = 600, step = 300, checkpoint = 600, evaluation = 300;
    bool operator==(const Timeouts&) const = default;
  };
  Timeouts timeouts;
  bool operator==(const ParallelConfig&) const = default;
};

struct CheckpointConfig {
  std::optional<Span> every;  // updates; empty = only at the end and on signals
  int keep = 3;
  std::optional<Span> keep_every;
  int keep_best = 1;
  bool async = true;                    // written while training goes on
  int64_t ahead = 0;                    // updates that it may be ahead of a checkpoint that is being written
  std::string busy = "wait";            // wait | skip: what a save does while another one is being written
  std::string on_failure = "continue";  // continue | stop
  std::string frozen = "reference";     // reference | copy
  std::vector<std::string> on_signal = {"TERM", "INT", "USR1"};
  bool operator==(const CheckpointConfig&) const = default;
};

struct EvaluateConfig {
  std::optional<Span> every;
  int64_t batches = 0;  // of micro_batch sequences a replica; 0 = the whole validation set once
  bool operator==(const EvaluateConfig&) const = default;
};

struct LogConfig {
  Span every{10, Span::Unit::updates};
  bool tensorboard = true;
  bool operator==(const LogConfig&) const = default;
};

struct Config {
  RunConfig run;
  ModelConfig model;
  DataConfig data;
  TrainConfig train;
  ParallelConfig parallel;
  CheckpointConfig checkpoint;
  EvaluateConfig evaluate;
  LogConfig log;
  std::string where;  // the file, for errors
  bool operator==(const Config&) const = default;
};

/// Reads a YAML file, applies `key=value` overrides (`train.stages[0].lr=1e-3`), then the defaults of `model.preset`
/// where nothing else was given. Strict: unknown, duplicate, mistyped and out-of-range keys, and values that are
/// planned but not built, throw ConfigError with file:line (or the argument), key path, allowed values and the nearest
/// valid name.
Config load_config(const std::filesystem::path& file, std::span<const std::string> overrides = {});

/// The same from text; `where` stands for the file in errors.
Config parse_config(const std::string& yaml, const std::string& where, std::span<const std::string> overrides = {});

/// Throws ConfigError that names the file and the missing keys where the config is not enough to train: `bench` and
/// `inspect` do with less.
void require_trainable(const Config& config);

/// The effective config as YAML that load_config() reads back to the same values; every key stands there
/// but those without a value.
std::string to_yaml(const Config& config);

/// Every key of the effective config with its value on one line: `train.clip` and `1`.
std::vector<std::pair<std::string, std::string>> values_of(const Config& config);

/// What differs between the config of an existing run and a new one.
struct ConfigDifference {
  std::string key, old_value, new_value;
  bool allowed;  // parallel.*, train.micro_batch, until, further stages, train.on_nan, train.on_spike, train.spike.*,
                 // train.skip_limit, checkpoint.*, log.*, evaluate.*, run.time_limit, run.name, run.dir, run.resume,
                 // data.readers, data.on_bad_record, data.bad_record_limit
};
std::vector<ConfigDifference> compare_on_resume(const Config& saved, const Config& now);

/// Of the values that may not change on resume.
std::string identity_hash(const Config& config);

/// The differences that are allowed, a line each. Throws ConfigError that lists the others; `origin`: where `saved`
/// stands.
std::vector<std::string> changes_on_resume(const Config& saved, const Config& now, const std::string& origin);

/// The keys, their defaults and meaning, one a line: `lmnet help config`.
std::string config_reference();
/// The same as the page docs/config.md.
std::string config_markdown();

/// `2000u`, `500Mt`, `5m`: as a config takes it.
std::string to_string(const Span& span);

/// The candidate with the smallest edit distance to `word`, if it is near enough to be meant; else empty.
std::string nearest(std::string_view word, std::span<const std::string> candidates);

}  // namespace lmnet
