#include <gmock/gmock.h>

#include "tests/trainer/config/helpers.h"

namespace lmnet {
namespace {

using ::testing::ElementsAre;
using testing::override_error;
using testing::small;

TEST(ConfigOverride, SetsScalarsListsAndMappings) {
  const Config config = small({"train.global_batch=64", "train.stages[0].trains=[edges, head]",
                               "train.stages[0].lr={default: 1e-5, head: 2e-5}", "parallel={vertex: 2}"});
  EXPECT_EQ(config.train.global_batch, 64);
  EXPECT_THAT(config.train.stages[0].trains, ElementsAre("edges", "head"));
  EXPECT_EQ(config.train.stages[0].lr.at("head"), 2e-5);
  EXPECT_EQ(config.parallel.vertex, 2);
}

TEST(ConfigOverride, LaterOnesWin) {
  EXPECT_EQ(small({"run.seed=5", "run.seed=6"}).run.seed, 6U);
}

TEST(ConfigOverride, SplitsAtTheFirstEqualsSign) {
  EXPECT_EQ(small({"data.train[0].path=dir/key=value/*.jsonl"}).data.train[0].path,
            std::vector<std::string>{"dir/key=value/*.jsonl"});
}

TEST(ConfigOverride, SignsOfYamlAtTheStartOfAValueAreText) {
  for (const std::string path : {"*.jsonl", "&a", "!x", "@here", "%d", "|a", ">b", "`c`"}) {
    EXPECT_EQ(small({"data.train[0].path=" + path}).data.train[0].path, std::vector{path});
  }
}

TEST(ConfigOverride, ReachesIntoABackboneMapping) {
  EXPECT_EQ(small({"model.backbone.hidden_size=64", "model.backbone.head_dim=4"}).model.backbone_json,
            R"({"model_type":"qwen2","hidden_size":64,"rms_norm_eps":1e-06,"tie_word_embeddings":true,"head_dim":4})");
}

TEST(ConfigOverride, TopologyReplacesAGraph) {
  const std::string graph = "model.topology={vertices: {a: {}}, edges: [{from: input, to: a}, {from: a, to: head}]}";
  const Config with_graph = small({graph});
  EXPECT_EQ(with_graph.model.topology, "");
  EXPECT_EQ(with_graph.model.where, "argument \"" + graph + "\"");
  const Config with_text = small({graph, "model.topology=1-2-1"});
  EXPECT_EQ(with_text.model.topology, "1-2-1");
  EXPECT_EQ(with_text.model.topology_json, "");
}

TEST(ConfigOverride, CreatesSectionsThatTheFileDoesNotHave) {
  EXPECT_EQ(small({"model.input.edge.kind=block"}).model.input_edge, EdgeKinds{EdgeKind::block});
  EXPECT_EQ(small({"model.edge=linear"}).model.edge, EdgeKinds{EdgeKind::linear});
  EXPECT_EQ(small({"model.edge=[mlp, {kind: linear}]"}).model.edge, (EdgeKinds{EdgeKind::mlp, EdgeKind::linear}));
  EXPECT_EQ(small({"model.input.edge=none", "model.input.edge.kind=block"}).model.input_edge,
            EdgeKinds{EdgeKind::block});
}

TEST(ConfigOverride, IndexOnePastTheEndAppends) {
  const Config config =
      small({"data.train[1].path=b.txt", "data.train[1].format=text", "data.validation[0]={path: v, format: c4}"});
  ASSERT_EQ(config.data.train.size(), 2U);
  EXPECT_EQ(config.data.train[1].format, "text");
  EXPECT_EQ(config.data.train[1].where, "argument \"data.train[1].path=b.txt\": data.train[1].path");
  EXPECT_EQ(config.data.validation.size(), 1U);
}

TEST(ConfigOverride, LargerIndexNamesTheValidOnes) {
  EXPECT_EQ(override_error("data.train[2].path=x"),
            "data.train has 1 entry, the index must be from 0 to 1 (1 adds one)");
  EXPECT_EQ(override_error("data.validation[1].path=x"),
            "data.validation has 0 entries, the index can only be 0, which adds the first");
}

TEST(ConfigOverride, ErrorsNameTheArgument) {
  EXPECT_EQ(override_error("train.micro_batc=4"), "unknown key train.micro_batc, did you mean train.micro_batch?");
  EXPECT_EQ(override_error("train.micro_batch=0"), "train.micro_batch: got 0, expected a whole number above 0");
  EXPECT_EQ(override_error("train.micro_batch=3"), "train.global_batch 8 is not a multiple of train.micro_batch 3");
  EXPECT_EQ(override_error("train.stages[0].lr={head: 1}"),
            "train.stages[0].lr: the stage does not train \"head\" but edges");
  EXPECT_EQ(override_error("log={every: 1u, every: 2u}"), "log.every is given twice, keep one of them");
  EXPECT_EQ(override_error("data.train[0].path=[a"), "this is not valid YAML (end of sequence flow not found)");
}

TEST(ConfigOverride, IsWhatIsNamedWhenTheFileDoesNotFitIt) {
  EXPECT_EQ(override_error("train.global_batch=6"), "train.global_batch 6 is not a multiple of train.micro_batch 4");
  const auto error = testing::error_of([] {
    small({"train.stages[0].lr={edges: 1}", "train.stages[0].trains=[head]"});
  });
  EXPECT_THAT(error, ::testing::StartsWith("argument \"train.stages[0].lr={edges: 1}\": train.stages[0].lr: "));
}

TEST(ConfigOverride, MalformedPathsAreRefused) {
  EXPECT_EQ(override_error("train.global_batch"),
            "there is no \"=\" in it, write key=value like train.global_batch=64");
  for (const std::string path :
       {"", "train.", ".x", "train..clip", "train.stages[", "train.stages[x].lr", "train.stages[-1].lr",
        "train.stages[0]lr", "train]", "train.stages[99999999999999999999].lr"}) {
    EXPECT_EQ(override_error(path + "=1"),
              "\"" + path + "\" is not the path of a key, write it like train.stages[0].lr");
  }
}

TEST(ConfigOverride, PathMustFitTheShapeOfTheConfig) {
  EXPECT_EQ(override_error("train.stages.lr=1"),
            "train.stages is a list, name one of its entries like train.stages[0].lr");
  EXPECT_EQ(override_error("train.stages[0].lr.edges=1"),
            "train.stages[0].lr is 1e-3 and has no keys, set it as a whole like train.stages[0].lr={edges: …}");
  EXPECT_EQ(override_error("train[0]=1"), "train is a mapping, not a list");
}

}  // namespace
}  // namespace lmnet
