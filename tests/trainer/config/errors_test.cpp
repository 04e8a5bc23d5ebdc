#include <gmock/gmock.h>

#include <random>

#include "tests/trainer/config/helpers.h"

namespace lmnet {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using testing::parse_error;
using ::testing::StartsWith;

std::string stage_error(const std::string& entries) {
  return parse_error("train:\n  stages:\n    - {trains: [edges], until: 9u, lr: 1}\n    - " + entries);
}

TEST(ConfigErrors, BrokenYamlNamesTheLine) {
  EXPECT_THAT(parse_error("run:\n  name: [a\n"), StartsWith("x.yaml:3: this is not valid YAML ("));
  EXPECT_THAT(parse_error("run: {}\n---\nrun: {}\n"), HasSubstr("a second YAML document starts here"));
  EXPECT_THAT(parse_error("run: &a [*a]\n"), StartsWith("x.yaml:1: "));
}

TEST(ConfigErrors, UnknownKeyNamesTheNearest) {
  EXPECT_EQ(parse_error("train:\n  micro_batc: 4\n"),
            "x.yaml:2: unknown key train.micro_batc, did you mean train.micro_batch?");
  EXPECT_EQ(parse_error("trian: {}\n"), "x.yaml:1: unknown key trian, did you mean train?");
  EXPECT_EQ(parse_error("data:\n  train:\n    - {path: a, fromat: c4}"),
            "x.yaml:3: unknown key data.train[0].fromat, did you mean data.train[0].format?");
}

TEST(ConfigErrors, KeyOfAnotherSectionIsFoundThere) {
  EXPECT_EQ(parse_error("train: {sequence_length: 4}\n"),
            "x.yaml:1: unknown key train.sequence_length, did you mean data.sequence_length?");
  EXPECT_EQ(parse_error("train: {warmup: 4u}\n"),
            "x.yaml:1: unknown key train.warmup, did you mean train.stages[0].warmup?");
}

TEST(ConfigErrors, UnknownKeyFarFromAllListsThem) {
  EXPECT_EQ(parse_error("log: {colours: red}\n"), "x.yaml:1: unknown key log.colours, log has every, tensorboard");
  EXPECT_EQ(parse_error("model: {edge: {width: 4}}"),
            "x.yaml:1: unknown key model.edge.width, model.edge has only kind");
}

TEST(ConfigErrors, DuplicateKeyNamesBothLines) {
  EXPECT_EQ(parse_error("train:\n  micro_batch: 4\n  clip: 1\n  micro_batch: 8\n"),
            "x.yaml:4: train.micro_batch is given twice (first at x.yaml:2), keep one of them");
  EXPECT_THAT(parse_error("model: {backbone: {hidden_size: 8, hidden_size: 9}}"),
              HasSubstr("model.backbone.hidden_size is given twice"));
}

TEST(ConfigErrors, MistypedValueSaysWhatIsExpected) {
  EXPECT_EQ(parse_error("train:\n\n  micro_batch: four\n"),
            "x.yaml:3: train.micro_batch: got \"four\", expected a whole number above 0");
  EXPECT_EQ(parse_error("train: {micro_batch: '4'}"),
            "x.yaml:1: train.micro_batch: got the text \"4\", expected a whole number above 0");
  EXPECT_EQ(parse_error("train: {micro_batch: 1e3}"),
            "x.yaml:1: train.micro_batch: got 1e3, expected a whole number above 0");
  EXPECT_EQ(parse_error("train: {micro_batch: }"),
            "x.yaml:1: train.micro_batch: got nothing, expected a whole number above 0");
  EXPECT_EQ(parse_error("data: {packing: yes}"), "x.yaml:1: data.packing: got \"yes\", expected true or false");
  EXPECT_EQ(parse_error("train: {clip: [1]}"), "x.yaml:1: train.clip: got a list, expected a number, 0 or above");
  EXPECT_EQ(parse_error("data: {train: a.jsonl}"),
            "x.yaml:1: data.train: got \"a.jsonl\", expected a list of {path, format, weight}");
  EXPECT_EQ(parse_error("log: 3"), "x.yaml:1: log: got 3, expected a mapping with the keys every, tensorboard");
  EXPECT_THAT(parse_error("[1, 2]"),
              StartsWith("x.yaml:1: the config: got a list, expected a mapping with the keys run,"));
  EXPECT_EQ(parse_error("model: {backbone: {}}"),
            "x.yaml:1: model.backbone: got an empty mapping, expected a path or a "
            "mapping with the keys of a config.json");
}

TEST(ConfigErrors, ValueOutOfRangeSaysTheRange) {
  EXPECT_EQ(parse_error("train: {micro_batch: 0}"),
            "x.yaml:1: train.micro_batch: got 0, expected a whole number above 0");
  EXPECT_EQ(parse_error("run: {seed: -1}"), "x.yaml:1: run.seed: got -1, expected a whole number, 0 or above");
  EXPECT_EQ(parse_error("parallel: {vertex: 3000000000}"),
            "x.yaml:1: parallel.vertex: got 3000000000, expected a whole number from 1 to 2147483647");
  EXPECT_EQ(parse_error("train: {optimizer: {betas: [0.9, 1]}}"),
            "x.yaml:1: train.optimizer.betas[1]: got 1, expected a number from 0 to below 1");
  EXPECT_EQ(parse_error("train: {optimizer: {betas: [0.9]}}"),
            "x.yaml:1: train.optimizer.betas: got a list, expected two numbers from 0 to below 1");
  EXPECT_EQ(parse_error("data: {train: [{path: a, format: c4, weight: 0}]}"),
            "x.yaml:1: data.train[0].weight: got 0, expected a number above 0");
  EXPECT_THAT(parse_error("train: {clip: .nan}"), HasSubstr("expected a number, 0 or above"));
}

TEST(ConfigErrors, WrongWordNamesTheRightOnes) {
  EXPECT_EQ(parse_error("model: {output: frist}"),
            "x.yaml:1: model.output: got \"frist\", expected first, mean or sum, did you mean \"first\"?");
  EXPECT_EQ(parse_error("model: {precision: BF16}"),
            "x.yaml:1: model.precision: got \"BF16\", expected bf16, fp32 or fp64, did you mean \"bf16\"?");
  EXPECT_EQ(parse_error("data: {streams: many}"),
            "x.yaml:1: data.streams: got \"many\", expected a whole number above 0 (or auto)");
  EXPECT_THAT(parse_error("checkpoint: {on_signal: [TERM, TERM]}"), HasSubstr("\"TERM\" stands there twice"));
  EXPECT_EQ(parse_error("model: {preset: reference-gpt-2}"),
            "x.yaml:1: model.preset: got \"reference-gpt-2\", expected none, reference-gpt2, reference-causal, "
            "reference-classifier or reference-classifier-separate, did you mean \"reference-gpt2\"?");
  EXPECT_EQ(parse_error("train: {optimizer: {decays: matrix}}"),
            "x.yaml:1: train.optimizer.decays: got \"matrix\", expected matrices, weights or all, did you mean "
            "\"matrices\"?");
  EXPECT_EQ(parse_error("data: {tokenizer: byte}"),
            "x.yaml:1: data.tokenizer: got \"byte\", expected auto, bytes, or a path: a folder (./NAME in the working "
            "directory) or its tokenizer.json, did you mean \"bytes\"?");
  EXPECT_THAT(parse_error("run: {name: a/b}"), HasSubstr("expected a folder's name without \"/\""));
}

TEST(ConfigErrors, EdgesAreMappingsWithAKindOrListsOfThem) {
  const std::string kinds = "block, attention, mlp, linear or identity";
  EXPECT_EQ(parse_error("model: {edge: [[block]]}"), "x.yaml:1: model.edge[0]: got a list, expected " + kinds);
  EXPECT_EQ(parse_error("model:\n  input: {edge: []}"),
            "x.yaml:2: model.input.edge: got an empty list, expected none, " + kinds +
                ", or a list of these; each also as {kind: …}");
  EXPECT_EQ(parse_error("model:\n  edge:\n    - {kind: block}\n    - blok\n"),
            "x.yaml:4: model.edge[1]: got \"blok\", expected " + kinds + ", did you mean \"block\"?");
  EXPECT_EQ(
      parse_error("model:\n  edge:\n    - {kind: block}\n    - {kind: atention}\n"),
      "x.yaml:4: model.edge[1].kind: got \"atention\", expected block, attention, mlp, linear or identity, did you "
      "mean \"attention\"?");
  EXPECT_EQ(parse_error("model: {edge: [{knid: block}]}"),
            "x.yaml:1: unknown key model.edge[0].knid, did you mean model.edge[0].kind?");
}

TEST(ConfigErrors, FormatsAndNamesOfSourcesAreLookedAt) {
  EXPECT_THAT(parse_error("data: {train: [{path: a, format: alpacca}]}"),
              AllOf(StartsWith("x.yaml:1: data.train[0].format: got \"alpacca\", expected alpaca, c4, "),
                    EndsWith(", did you mean \"alpaca\"?")));
  EXPECT_EQ(parse_error("data: {train: [{name: a, format: c4}]}"),
            "x.yaml:1: data.train[0].name stands for path, format and columns in data.registry, leave those out");
  EXPECT_EQ(parse_error("data: {train: [{path: [], format: c4}]}"),
            "x.yaml:1: data.train[0].path: got an empty list, expected a file, a glob, a folder, or a list of these");
  EXPECT_THAT(parse_error("data: {train: [{path: a, format: c4, columns: [b]}]}"),
              HasSubstr("data.train[0].columns: got a list, expected a mapping of names"));
}

TEST(ConfigErrors, PlannedValuesAreRefusedAsSuch) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"model: {aggregation: routed}", "model.aggregation: \"routed\" is planned, not built yet; use sum or mean"},
      {"model: {adapters: [lora]}", "model.adapters: planned, not built yet; remove it or set it to []"},
      {"train: {recompute: blocks}",
       "train.recompute: \"blocks\" is planned, not built yet; remove it or set it to none"},
      {"parallel: {zero: 2}", "parallel.zero: 2 is planned, not built yet; use 0 or 1"},
      {"evaluate: {tasks: [gsm8k]}", "evaluate.tasks: planned, not built yet; remove it or set it to []"},
      {"train: {stages: [{trains: [adapters], until: 1u, lr: 1}]}",
       "train.stages[0].trains[0]: \"adapters\" is planned, not built yet; use edges, vertices, embeddings, head or "
       "prefix"}};
  for (const auto& [yaml, error] : cases) EXPECT_EQ(parse_error(yaml), "x.yaml:1: " + error);
}

TEST(ConfigErrors, MissingKeyOfAnEntryIsNamed) {
  EXPECT_EQ(
      parse_error("data:\n  train:\n    - {path: a}\n"),
      "x.yaml:3: data.train[0].format is missing, expected alpaca, c4, e2e, e2e-lines, gsm8k, lamini, math, mbpp, "
      "messages, mmlu, mmlu-choices, openr1-math, prepared, prompt-completion, prosocial-dialog, sharegpt, text, one "
      "of "
      "data.formats or a mapping as there");
  EXPECT_EQ(parse_error("data:\n  train:\n    - {format: c4}\n"),
            "x.yaml:3: data.train[0].path is missing, expected a file, a glob, a folder, or a list of these");
  EXPECT_THAT(stage_error("{trains: [edges], lr: 1}"),
              StartsWith("x.yaml:4: train.stages[1].until is missing, expected a length"));
}

TEST(ConfigErrors, StageNeedsFittingRates) {
  EXPECT_EQ(
      stage_error("{name: b, trains: [edges, head], until: 9u, lr: {edgse: 1}}"),
      "x.yaml:4: train.stages[1].lr: the stage does not train \"edgse\" but edges, head, did you mean \"edges\"?");
  EXPECT_EQ(stage_error("{name: b, trains: [edges, head], until: 9u, lr: {edges: 1}}"),
            "x.yaml:4: train.stages[1].lr: there is no rate for head, which the stage trains, add \"head: …\" or "
            "\"default: …\"");
  EXPECT_EQ(stage_error("{name: b, trains: [edges], until: 9u, lr: {edges: -1}}"),
            "x.yaml:4: train.stages[1].lr.edges: got -1, expected a number, 0 or above");
}

TEST(ConfigErrors, StagesAreWellFormed) {
  EXPECT_EQ(
      stage_error(
          "{name: edges, trains: [edges], until: 9u, lr: 1}\n    - {name: edges, trains: [head], until: 9u, lr: 1}"),
      "x.yaml:5: train.stages[2].name: another stage is called \"edges\" already, give it a name of its own");
  EXPECT_EQ(stage_error("{trains: [edges, edges], until: 9u, lr: 1}"),
            "x.yaml:4: train.stages[1].trains: \"edges\" stands there twice, keep one of them");
  EXPECT_THAT(stage_error("{trains: [], until: 9u, lr: 1}"),
              HasSubstr("train.stages[1].trains: got an empty list, expected"));
}

TEST(ConfigErrors, GlobalBatchIsAMultipleOfMicroBatch) {
  EXPECT_EQ(parse_error("train:\n  global_batch: 10\n  micro_batch: 4\n"),
            "x.yaml:3: train.global_batch 10 is not a multiple of train.micro_batch 4");
}

TEST(ConfigErrors, MissingFileIsNamed) {
  EXPECT_EQ(testing::error_of([] { load_config("no/such/folder/x.yaml"); }), "no/such/folder/x.yaml: no such file");
}

TEST(ConfigErrors, DamagedTextIsReadOrRefusedButNothingElse) {
  std::mt19937_64 random(1);
  const std::string pieces = "{}[]:,-#&*!|>'\"%@`\n\t ~?.0a\xff\x80\\";
  for (int i = 0; i < 250; ++i) {
    std::string yaml = testing::small_config;
    for (uint64_t edit = 0; edit <= random() % 3; ++edit) {
      const size_t place = random() % yaml.size();
      yaml.replace(place, random() % 4, 1, pieces[random() % pieces.size()]);
    }
    SCOPED_TRACE(yaml);
    try {
      testing::parse(yaml);
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), StartsWith("x.yaml:"));
    }
  }
}

}  // namespace
}  // namespace lmnet
