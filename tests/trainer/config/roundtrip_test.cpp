#include <gmock/gmock.h>

#include <algorithm>
#include <random>

#include "tests/trainer/config/helpers.h"

namespace lmnet {
namespace {

using enum Span::Unit;

/// The effective config of testing::small().
constexpr const char* kSmall = R"(run:
  name: small
  dir: runs
  seed: 3
  resume: auto
  time_limit: none
model:
  backbone:
    model_type: qwen2
    hidden_size: 8
    rms_norm_eps: 1e-06
    tie_word_embeddings: true
  topology: 1-2-1
  sharing: all
  preset: none
  edge:
    kind: block
  aggregation: mean
  input:
    prefix: 0
    edge: none
  residual: none
  output: first
  classes: 0
  adapters: []
  precision: bf16
  load:
    edges: none
    vertices: none
    embeddings: none
    head: none
    prefix: none
    all: none
    allow: []
data:
  tokenizer: auto
  sequence_length: 16
  streams: auto
  readers: 2
  packing: true
  documents: auto
  on_bad_record: fail
  bad_record_limit: 100
  train:
    - path: a.jsonl
      format: c4
      weight: 1
  validation: []
train:
  global_batch: 8
  micro_batch: 4
  stages:
    - name: edges
      trains: [edges]
      until: 10u
      lr: 0.001
      schedule: constant
      warmup: 0u
  optimizer:
    kind: adamw
    betas: [0.9, 0.95]
    eps: 1e-08
    weight_decay: 0.1
    decays: matrices
  clip: 1
  loss:
    label_smoothing: 0
    epsilon: 0
  on_nan: stop
  on_spike: none
  spike:
    window: 128
    sigma: 6
  skip_limit: 10
  recompute: none
parallel:
  vertex: 1
  data: auto
  backend: auto
  device: auto
  zero: 1
  overlap: true
  timeout:
    start: 10m
    step: 5m
    checkpoint: 10m
    evaluation: 5m
checkpoint:
  every: none
  keep: 3
  keep_every: none
  keep_best: 1
  async: true
  ahead: 0
  busy: wait
  frozen: reference
  on_failure: continue
  on_signal: [TERM, INT, USR1]
evaluate:
  every: none
  batches: 0
  tasks: []
log:
  every: 10u
  tensorboard: true
)";

/// Draws valid configs.
class Draw {
 public:
  explicit Draw(uint64_t seed) : random_(seed) {}

  Config config() {
    Config config;
    config.run = {word(), "runs/" + text(), random_() >> 1, text(), maybe(length({seconds}))};
    config.model = model();
    config.data = {pick({"auto", "bytes", "a b/tokenizer", "x.json"}),
                   whole(),
                   maybe(whole()),
                   small(),
                   flag(),
                   maybe(flag()),
                   flag() ? text() : "",
                   flag() ? text() : "",
                   flag(),
                   whole(),
                   sources(1),
                   sources(0)};
    config.train = train();
    config.parallel = {small(),
                       maybe(small()),
                       pick({"auto", "mpi", "nccl"}),
                       pick({"auto", "cpu", "cuda"}),
                       static_cast<int>(random_() % 2),
                       flag(),
                       {1 + real(), 1 + real(), 1 + real(), 1 + real()}};
    config.checkpoint = {.every = maybe(length({updates})), .keep = small(), .keep_every = maybe(length({updates}))};
    config.checkpoint.keep_best = small() - 1;
    config.checkpoint.async = flag();
    config.checkpoint.ahead = whole() - 1;
    if (flag()) config.checkpoint.busy = "skip";
    if (flag()) config.checkpoint.on_failure = "stop";
    if (flag()) config.checkpoint.frozen = "copy";
    if (flag()) config.checkpoint.on_signal.clear();
    if (flag()) config.checkpoint.on_signal = {"USR1", "INT"};
    config.evaluate = {maybe(length({updates})), whole()};
    config.log.every = length({updates});
    return config;
  }

 private:
  bool flag() { return random_() % 2 == 0; }
  int64_t whole() { return 1 + static_cast<int64_t>(random_() >> (1 + random_() % 63)) / 2; }
  int small() { return 1 + static_cast<int>(random_() % 1000); }
  double real() { return static_cast<double>(random_() >> 11) / 9007199254740992.0; }
  std::string pick(const std::vector<std::string>& words) { return words[random_() % words.size()]; }
  std::string word() { return pick({"a", "lmnet-0.5b", "null", "1", "x y", "true", "#", "-"}); }

  /// Text with everything that YAML reads in a way of its own.
  std::string text() {
    std::string text = word();
    for (uint64_t i = random_() % 6; i > 0; --i) {
      text += pick(
          {": ", " #", "*", "\"", "'", "\\", "{", "}", "[", "]", ",", "\n", "\t", "é", "&", "!", "%", "@", "`", "|"});
    }
    return text;
  }

  template <class T>
  std::optional<T> maybe(T value) {
    return flag() ? std::optional<T>(value) : std::nullopt;
  }

  Span length(const std::vector<Span::Unit>& units) {
    const Span::Unit unit = units[random_() % units.size()];
    const double value = static_cast<double>(1 + random_() % 100000);
    return {unit == epochs || unit == seconds ? value / 16 : value, unit};
  }

  ModelConfig model() {
    ModelConfig model;
    if (flag()) {
      model.backbone = text();
    } else {
      model.backbone_json =
          R"({"model_type":"qwen2","n":8,"eps":1e-06,"x":1.0,"t":true,"z":null,"s":"8","yes":["1e3",{"k: ":{}}]})";
    }
    model.topology = pick({"1", "1-2-1", "1-4-4-4-1"});
    if (flag()) {
      model.topology = "";
      model.topology_json = R"({"vertices":{"b":{"group":"g"},"a":{}},"edges":[{"from":"input","to":"b"}]})";
    }
    model.sharing = pick({"all", "level", "none", "groups"});
    model.aggregation = pick({"sum", "mean"});
    model.edge = edge();
    model.prefix = small() - 1;
    model.input_edge = edge();
    model.residual = pick({"none", "first"});
    model.classes = small() - 1;
    model.preset = pick({"none", "reference-gpt2", "reference-causal", "reference-classifier-separate"});
    model.output = pick({"first", "mean", "sum"});
    model.precision = pick({"bf16", "fp32", "fp64"});
    return model;
  }

  EdgeKinds edge() {
    EdgeKinds kinds(random_() % 4);
    for (EdgeKind& kind : kinds) kind = static_cast<EdgeKind>(random_() % 4);
    return kinds;
  }

  std::vector<SourceConfig> sources(uint64_t least) {
    std::vector<SourceConfig> sources(least + random_() % 3);
    for (SourceConfig& source : sources) {
      if (flag()) {
        source.name = text();
      } else {
        source.path.resize(1 + random_() % 2);
        for (std::string& path : source.path) path = text();
        (flag() ? source.format : source.format_json) = flag() ? "alpaca" : "c4";
        if (!source.format_json.empty()) source.format_json = R"({"prompt":"{q}: ","answer":"{a}"})";
        if (flag()) source.columns = {{"q", text()}, {"text", text()}};
      }
      source.weight = real() + 1e-9;
      source.epochs = flag() ? whole() : 0;
      source.tokens = maybe(length({tokens})).value_or(Span{});
    }
    return sources;
  }

  TrainConfig train() {
    TrainConfig train;
    train.micro_batch = small();
    train.global_batch = train.micro_batch * small();
    for (int i = 0; i < 1 + small() % 3; ++i) train.stages.push_back(stage(i));
    train.optimizer = {real(), real(), real() + 1e-12, real(), static_cast<Decays>(random_() % 3)};
    train.loss = {real(), real()};
    train.clip = real() * 1e10;
    return train;
  }

  StageConfig stage(int index) {
    StageConfig stage;
    stage.name = text() + std::to_string(index);
    stage.trains = {"edges", "vertices", "embeddings", "head", "prefix"};
    std::shuffle(stage.trains.begin(), stage.trains.end(), random_);
    stage.trains.resize(1 + random_() % 5);
    stage.until = length({updates, tokens, epochs});
    if (flag()) stage.lr["default"] = real() * 1e-5;
    for (const std::string& group : stage.trains) {
      if (flag() || !stage.lr.contains("default")) stage.lr[group] = real();
    }
    stage.schedule = static_cast<ScheduleKind>(random_() % 3);
    if (flag()) stage.warmup = length({updates, tokens});
    return stage;
  }

  std::mt19937_64 random_;
};

TEST(ToYaml, EveryValidConfigReadsBackEqual) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const Config config = Draw(seed).config();
    const std::string yaml = to_yaml(config);
    SCOPED_TRACE(yaml);
    const Config again = testing::parse(yaml);
    ASSERT_EQ(testing::without_places(again), config);
    ASSERT_EQ(to_yaml(again), yaml);
    ASSERT_TRUE(compare_on_resume(config, again).empty());
  }
}

TEST(ToYaml, ConfigThatIsNotEnoughToTrainReadsBackToo) {
  const Config config = testing::parse("model: {backbone: x}");
  EXPECT_EQ(testing::without_places(testing::parse(to_yaml(config))), testing::without_places(config));
}

TEST(ToYaml, HasTheShapeOfAConfigWrittenByHand) {
  EXPECT_EQ(to_yaml(testing::small()), kSmall);
}

}  // namespace
}  // namespace lmnet
