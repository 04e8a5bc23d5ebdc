#include "trainer/config/config.h"

#include <gmock/gmock.h>

#include <fstream>

#include "tests/trainer/config/helpers.h"

namespace lmnet {
namespace {

using testing::configs_folder;
using ::testing::ElementsAre;
using testing::error_of;
using ::testing::HasSubstr;
using testing::parse;
using testing::small;
using testing::small_config;
using ::testing::StartsWith;

TEST(Config, EmptyTextGivesTheDefaults) {
  Config expected;
  expected.run.name = "run";
  EXPECT_EQ(testing::without_places(parse("")), expected);
  EXPECT_EQ(testing::without_places(parse("run:\nlog:\n")), expected);
}

TEST(Config, ReadsEveryKindOfValue) {
  const Config config = parse(R"(
run: {name: n, dir: out, seed: 18446744073, resume: never, time_limit: 1.5h}
model: {backbone: some/folder, topology: 1-4-1, sharing: none, aggregation: sum, output: mean, precision: fp32,
        input: {prefix: 3, edge: [{kind: mlp}, {kind: identity}, {kind: linear}]}, edge: {kind: attention},
        residual: first, classes: 4}
data:
  tokenizer: bytes
  sequence_length: 64
  streams: 4
  packing: false
  train: [{path: "a b*.jsonl", format: alpaca, weight: 0.25}]
train:
  global_batch: 6
  micro_batch: 3
  stages:
    - {name: first, trains: [edges, prefix], until: 0.5Gt, lr: {default: 1e-5, prefix: 1e-4}, schedule: linear, warmup: 1Kt}
  optimizer: {kind: adamw, betas: [0.8, 0.99], eps: 1e-6, weight_decay: 0, decays: weights}
  clip: 0
  loss: {label_smoothing: 0.1, epsilon: 1e-4}
parallel: {vertex: 2, data: 3, backend: nccl, device: cuda, zero: 0, overlap: false, timeout: 2m}
checkpoint: {every: 5u, keep: 1, keep_every: 50u, on_signal: [USR2]}
evaluate: {every: 7u, batches: 9}
log: {every: 1u}
)");
  EXPECT_EQ(config.run.folder(), "out/n");
  EXPECT_EQ(config.run.seed, 18446744073U);
  EXPECT_EQ(config.run.time_limit, (Span{5400, Span::Unit::seconds}));
  EXPECT_EQ(config.model.backbone, "some/folder");
  EXPECT_THAT(config.model.edge, ElementsAre(EdgeKind::attention));
  EXPECT_EQ(config.model.prefix, 3);
  EXPECT_THAT(config.model.input_edge, ElementsAre(EdgeKind::mlp, EdgeKind::linear)) << "an identity is no link";
  EXPECT_EQ(config.model.residual, "first");
  EXPECT_EQ(config.model.classes, 4);
  EXPECT_EQ(config.data.streams, 4);
  EXPECT_THAT(config.data.train.at(0).path, ElementsAre("a b*.jsonl"));
  EXPECT_EQ(config.data.train.at(0).where, "x.yaml:11: data.train[0].path");
  const StageConfig& stage = config.train.stages.at(0);
  EXPECT_EQ(stage.until, (Span{5e8, Span::Unit::tokens}));
  EXPECT_EQ(stage.warmup, (Span{1000, Span::Unit::tokens}));
  EXPECT_EQ(stage.lr, (std::map<std::string, double>{{"default", 1e-5}, {"prefix", 1e-4}}));
  EXPECT_EQ(stage.schedule, ScheduleKind::linear);
  EXPECT_EQ(config.train.optimizer, (OptimizerConfig{0.8, 0.99, 1e-6, 0, Decays::weights}));
  EXPECT_EQ(config.train.loss, (LossConfig{0.1, 1e-4}));
  EXPECT_EQ(config.parallel, (ParallelConfig{2, 3, "nccl", "cuda", 0, false, {120, 120, 120, 120}}));
  EXPECT_THAT(config.checkpoint.on_signal, ElementsAre("USR2"));
  EXPECT_EQ(config.evaluate.batches, 9);
}

TEST(Config, TimeoutIsOneTimeOrOneForEachPhase) {
  using Timeouts = ParallelConfig::Timeouts;
  const Timeouts standard;
  EXPECT_EQ(parse("parallel: {timeout: 90s}").parallel.timeouts, (Timeouts{90, 90, 90, 90}));
  EXPECT_EQ(parse("parallel: {timeout: {step: 1m, checkpoint: 1h}}").parallel.timeouts,
            (Timeouts{standard.start, 60, 3600, standard.evaluation}));
  EXPECT_EQ(small({"parallel.timeout.start=5s"}).parallel.timeouts.start, 5);
  EXPECT_EQ(testing::parse_error("parallel: {timeout: {stpe: 1m}}"),
            "x.yaml:1: unknown key parallel.timeout.stpe, did you mean parallel.timeout.step?");
  EXPECT_THAT(testing::parse_error("parallel: {timeout: 300}"),
              HasSubstr("parallel.timeout: got 300, expected a length with its unit s, m, h (time), such as 300s"));
}

TEST(Config, TopologyIsTextWhateverYamlSees) {
  for (const std::string topology : {"1", "1-2-1", "1-4-4-4-1", "2024-01-01"}) {
    EXPECT_EQ(parse("model: {topology: " + topology + "}").model.topology, topology);
  }
}

TEST(Config, GraphIsKeptInTheOrderWritten) {
  const Config config = parse(R"(
model:
  topology:
    vertices: {zebra: {group: g}, ape: {}}
    edges: [{from: input, to: zebra}, {from: zebra, to: ape, kind: block}, {from: ape, to: head}]
)");
  EXPECT_EQ(config.model.topology, "");
  EXPECT_EQ(config.model.topology_json,
            R"({"vertices":{"zebra":{"group":"g"},"ape":{}},"edges":[{"from":"input","to":"zebra"},)"
            R"({"from":"zebra","to":"ape","kind":"block"},{"from":"ape","to":"head"}]})");
  EXPECT_EQ(config.model.where, "x.yaml:3");
}

TEST(Config, BackboneMappingHasTypedValues) {
  const Config config =
      parse(R"(model: {backbone: {a: 1, b: 1.0, c: 1e-6, d: true, e: null, f: text, g: "1", h: [1, x]}})");
  EXPECT_EQ(config.model.backbone, "");
  EXPECT_EQ(config.model.backbone_json,
            R"({"a":1,"b":1.0,"c":1e-06,"d":true,"e":null,"f":"text","g":"1","h":[1,"x"]})");
}

TEST(Config, StagesWithoutNameAreCalledAfterWhatTheyTrain) {
  const Config config = parse(R"(train: {stages: [{trains: [edges, vertices], until: 1u, lr: 1},
    {trains: [edges], until: 1u, lr: 1}, {trains: [edges], until: 1u, lr: 1}]})");
  EXPECT_EQ(config.train.stages[0].name, "edges+vertices");
  EXPECT_EQ(config.train.stages[1].name, "edges");
  EXPECT_EQ(config.train.stages[2].name, "edges-2");
}

TEST(Config, PlannedKeysMayHaveTheirDefault) {
  EXPECT_NO_THROW(parse(R"(
model: {preset: none, adapters: [], input: {prefix: 0, edge: none}}
data: {on_bad_record: fail}
train: {recompute: none, optimizer: {kind: adamw}}
checkpoint: {async: true}
evaluate: {tasks: []}
)"));
}

TEST(Config, FileGivesTheRunItsName) {
  const auto file = std::filesystem::path(::testing::TempDir()) / "config_test_some.run.yaml";
  std::ofstream(file) << "run: {seed: 2}\n";
  const Config config = load_config(file);
  EXPECT_EQ(config.run.name, "config_test_some.run");
  EXPECT_EQ(config.where, file.string());
  EXPECT_THAT(
      error_of([&] { load_config(std::filesystem::path(::testing::TempDir()) / "config_test_some.rum.yaml"); }),
      ::testing::AllOf(HasSubstr("config_test_some.rum.yaml: no such file, did you mean "), HasSubstr(file.string())));
  EXPECT_THAT(error_of([&] { load_config(::testing::TempDir()); }), HasSubstr("this is a folder"));
  std::filesystem::remove(file);
}

TEST(Config, TrainingNeedsTheseKeys) {
  EXPECT_NO_THROW(require_trainable(small()));
  EXPECT_EQ(error_of([] { require_trainable(parse("data: {train: []}\ntrain: {micro_batch: 2}")); }),
            "x.yaml: training needs model.backbone (a path or a mapping with the keys of a config.json), "
            "data.sequence_length (a whole number above 0), data.train (a list of {path, format, weight}), "
            "train.global_batch (a whole number above 0), train.stages (a list of stages {trains, until, lr, …})");
  EXPECT_EQ(error_of([] { require_trainable(small({"evaluate.every=5u"})); }),
            "x.yaml: evaluate.every is 5u but there is no data.validation, name its files there");
}

TEST(Config, EveryFileOfTheConfigsFolderTrains) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(configs_folder())) {
    if (entry.is_directory()) continue;  // sweeps: tests/scripts/configs_test.sh
    SCOPED_TRACE(entry.path());
    const Config config = load_config(entry.path());
    ++count;
    if (config.model.classes > 0) continue;  // no data has classes so far
    EXPECT_NO_THROW(require_trainable(config));
  }
  EXPECT_GT(count, 0);
}

TEST(Config, ReferenceHasEveryKeyOfTheEffectiveConfig) {
  const std::string reference = config_reference();
  for (const std::string key :
       {"run.name ", "model.input.edge ", "data.train[].path ", "train.stages[].lr ", "log.every "}) {
    EXPECT_THAT(reference, HasSubstr("\n" + key));
  }
  EXPECT_THAT(reference, HasSubstr("(planned: weighted, routed, concat)"));
  EXPECT_THAT(reference, HasSubstr("\n# model.preset: reference-classifier-separate\nmodel:\n"));
  EXPECT_THAT(reference, HasSubstr("required to train"));
}

TEST(CompareOnResume, EqualConfigsDoNotDiffer) {
  EXPECT_TRUE(compare_on_resume(small(), small()).empty());
}

TEST(CompareOnResume, WhatOnlyChangesHowARunGoesIsAllowed) {
  const Config now =
      small({"parallel.vertex=2", "parallel.zero=0", "parallel.timeout=1m", "train.micro_batch=2",
             "train.stages[0].until=20u", "checkpoint.every=5u", "checkpoint.on_signal=[]", "log.every=1u",
             "evaluate.batches=3", "run.time_limit=1h", "run.name=other", "run.dir=elsewhere", "run.resume=never"});
  const auto differences = compare_on_resume(small(), now);
  EXPECT_EQ(differences.size(), 16U);
  for (const ConfigDifference& difference : differences) EXPECT_TRUE(difference.allowed) << difference.key;
}

TEST(CompareOnResume, StagesMayBeAddedButNotTakenAway) {
  const Config longer = small({"train.stages[1]={name: all, trains: [edges, vertices], until: 5u, lr: 1e-4}"});
  const auto added = compare_on_resume(small(), longer);
  EXPECT_GT(added.size(), 3U);
  for (const ConfigDifference& difference : added) EXPECT_TRUE(difference.allowed) << difference.key;
  const auto removed = compare_on_resume(longer, small());
  EXPECT_TRUE(std::ranges::any_of(removed, [](const ConfigDifference& difference) { return !difference.allowed; }));
}

TEST(CompareOnResume, WhatChangesTheResultIsNot) {
  const std::vector<std::string> overrides = {"run.seed=9", "model.backbone.hidden_size=16",
                                              "data.train[0].path=b.jsonl", "train.global_batch=16",
                                              "train.stages[0].lr=2e-3"};
  for (const std::string& override : overrides) {
    const auto differences = compare_on_resume(small(), small({override}));
    ASSERT_EQ(differences.size(), 1U) << override;
    EXPECT_FALSE(differences[0].allowed);
    EXPECT_EQ(differences[0].key, override.substr(0, override.find('=')));
  }
}

TEST(CompareOnResume, ShowsBothValuesAndWhatOnlyOneHas) {
  const auto seed = compare_on_resume(small(), small({"run.seed=9"})).at(0);
  EXPECT_EQ(seed.old_value, "3");
  EXPECT_EQ(seed.new_value, "9");
  const auto added = compare_on_resume(small(), small({"data.validation[0]={path: v, format: text}"}));
  ASSERT_EQ(added.size(), 4U);
  EXPECT_EQ(added[0].key, "data.validation");
  EXPECT_EQ(added[0].new_value, "not given");
  EXPECT_EQ(added[1].key, "data.validation[0].path");
  EXPECT_EQ(added[1].old_value, "not given");
  EXPECT_EQ(added[1].new_value, "v");
}

TEST(ChangesOnResume, AreTheAllowedOnesOrARefusalThatListsTheOthers) {
  EXPECT_EQ(changes_on_resume(small(), small({"log.every=1u"}), "runs/small"),
            std::vector<std::string>{"log.every: 10u → 1u"});
  EXPECT_EQ(changes_on_resume(small(), small({"train.stages[0].until=20u"}), "runs/small"),
            std::vector<std::string>{"train.stages[0].until: 10u → 20u"});
  const std::string cosine = "train.stages[0].schedule=cosine";
  EXPECT_EQ(
      changes_on_resume(small({cosine}), small({cosine, "train.stages[0].until=20u"}), "runs/small"),
      std::vector<std::string>{"train.stages[0].until: 10u → 20u; unless the stage is over, the end of its cosine "
                               "schedule moves with it, and so do its learning rates"});
  const std::string error = error_of([] {
    changes_on_resume(small(), small({"run.seed=9", "train.clip=2", "log.every=1u"}), "runs/small");
  });
  EXPECT_THAT(error, StartsWith("x.yaml: runs/small is of a run with another config: run.seed: 3 → 9, "
                                "train.clip: 1 → 2; take these changes back"));
}

}  // namespace
}  // namespace lmnet
