#include "trainer/config/presets.h"

#include <gmock/gmock.h>

#include "tests/trainer/config/helpers.h"

namespace lmnet {
namespace {

using ::testing::ElementsAre;
using testing::parse;

Config with_preset(const std::string& name, const std::vector<std::string>& overrides = {}) {
  return parse("model: {topology: 1-2-1, preset: " + name + "}", overrides);
}

TEST(Preset, gpt2_has_the_rules_of_its_script) {
  const Config config = with_preset("reference-gpt2");
  EXPECT_THAT(config.model.edge, ElementsAre(EdgeKind::attention));
  EXPECT_EQ(config.model.input_edge, EdgeKinds(3, EdgeKind::attention));
  EXPECT_EQ(config.model.prefix, 32);
  EXPECT_EQ(config.model.aggregation, "sum");
  EXPECT_EQ(config.model.residual, "first");
  EXPECT_EQ(config.model.sharing, "all");
  EXPECT_EQ(config.model.classes, 0);
  EXPECT_EQ(config.train.optimizer, (OptimizerConfig{0.9, 0.999, 1e-6, 0.01, Decays::all}));
  EXPECT_EQ(config.train.loss, (LossConfig{0.1, 1e-4}));
  EXPECT_EQ(config.train.clip, 0);
}

TEST(Preset, causal_is_a_network_and_leaves_training_to_the_config) {
  const Config config = with_preset("reference-causal");
  EXPECT_THAT(config.model.edge, ElementsAre(EdgeKind::block));
  EXPECT_THAT(config.model.input_edge, ElementsAre(EdgeKind::block));
  EXPECT_EQ(config.model.aggregation, "mean");
  EXPECT_EQ(config.model.output, "first");
  EXPECT_EQ(config.model.residual, "none");
  EXPECT_EQ(config.train, TrainConfig{});
}

TEST(Preset, classifiers_differ_in_sharing_input_edges_and_what_decays) {
  const Config shared = with_preset("reference-classifier"), separate = with_preset("reference-classifier-separate");
  EXPECT_EQ(shared.model.sharing, "all");
  EXPECT_THAT(shared.model.input_edge, ElementsAre(EdgeKind::mlp));
  EXPECT_EQ(shared.train.optimizer, (OptimizerConfig{0.9, 0.999, 1e-8, 1e-6, Decays::matrices}));
  EXPECT_EQ(separate.model.sharing, "none");
  EXPECT_THAT(separate.model.input_edge, ElementsAre());
  EXPECT_EQ(separate.train.optimizer, (OptimizerConfig{0.9, 0.999, 1e-8, 1e-6, Decays::weights}));
  for (const Config& config : {shared, separate}) {
    EXPECT_THAT(config.model.edge, ElementsAre(EdgeKind::block));
    EXPECT_EQ(config.model.aggregation, "mean");
    EXPECT_EQ(config.model.classes, 4);
    EXPECT_EQ(config.train.clip, 1);
  }
}

TEST(Preset, keys_that_are_given_win_wherever_they_come_from) {
  const Config config = parse(R"(
model: {preset: reference-gpt2, input: {prefix: 0}, aggregation: mean}
train: {optimizer: {eps: 1e-3}, loss: {epsilon: 0}}
)",
                              {"train.clip=2", "model.edge.kind=linear"});
  EXPECT_EQ(config.model.prefix, 0);
  EXPECT_EQ(config.model.input_edge, EdgeKinds(3, EdgeKind::attention));
  EXPECT_EQ(config.model.aggregation, "mean");
  EXPECT_THAT(config.model.edge, ElementsAre(EdgeKind::linear));
  EXPECT_EQ(config.train.optimizer, (OptimizerConfig{0.9, 0.999, 1e-3, 0.01, Decays::all}));
  EXPECT_EQ(config.train.loss, (LossConfig{0.1, 0}));
  EXPECT_EQ(config.train.clip, 2);
  EXPECT_EQ(parse("model: {topology: 1-2-1}", {"model.preset=reference-gpt2"}).model.prefix, 32);
}

TEST(Preset, fills_sections_that_stand_empty) {
  const Config config = parse("model: {preset: reference-gpt2, input: }\ntrain:\n");
  EXPECT_EQ(config.model.prefix, 32);
  EXPECT_EQ(config.train.clip, 0);
}

TEST(Preset, the_effective_config_is_the_same_with_the_preset_and_without) {
  for (const std::string& name : config::preset_names()) {
    SCOPED_TRACE(name);
    const Config config = with_preset(name, {"train.optimizer.eps=1e-5"});
    const std::string yaml = to_yaml(config);
    EXPECT_EQ(testing::without_places(parse(yaml)), testing::without_places(config));
    Config plain = parse(yaml, {"model.preset=none"});
    plain.model.preset = name;
    EXPECT_EQ(testing::without_places(plain), testing::without_places(config));
    EXPECT_EQ(to_yaml(parse(yaml)), yaml);
  }
}

}  // namespace
}  // namespace lmnet
