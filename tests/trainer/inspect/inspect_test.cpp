#include "trainer/inspect/inspect.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "model/errors.h"
#include "model/graph/errors.h"
#include "tests/trainer/config/helpers.h"
#include "tests/trainer/saving/helpers.h"

namespace lmnet {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

Json look(const std::filesystem::path& what, const std::vector<std::string>& overrides = {}, bool verify = false) {
  return Json::parse(inspect(what, overrides, {.json = true, .verify = verify}));
}

TEST(Inspect, ConfigsSayWhatTrains) {
  TemporaryFolder folder;
  std::ofstream(folder / "tiny.yaml") << testing::tiny_config;
  const Json json = look(folder / "tiny.yaml", {"model.topology=1-2-3"});
  // One block: q, k, v with bias, o, gate, up, down, two norms. One edge adds a 16 × 16 linear with bias.
  const int64_t block = 32 * (16 + 1) + 16 * 16 + 3 * 24 * 16 + 2 * 16, edges = (2 + 2) * (block + 16 * 16 + 16);
  const Json& count = json["parameters"];
  EXPECT_EQ(count["vertex"], 2 * block + 16);
  EXPECT_EQ(count["vertices"], 2 * block + 16);
  EXPECT_EQ(count["edges"], edges);
  EXPECT_EQ(count["embeddings"], 258 * 16);
  EXPECT_EQ(count["head"], 0);
  EXPECT_EQ(count["total"], edges + 2 * block + 16 + 258 * 16);
  EXPECT_EQ(count["trainable"], count["total"]);
  EXPECT_EQ(json["stages"][0]["trainable"], edges);
  EXPECT_EQ(json["topology"], "1-2-3");
  EXPECT_EQ(json["backbone"]["hidden_size"], 16);
  EXPECT_GT(json["stages"][1]["flops_per_token"], json["stages"][0]["flops_per_token"]);
  EXPECT_GT(json["stages"][0]["flops_per_token"], json["forward_flops_per_token"]);
}

TEST(Inspect, AConfigWithoutTrainingTrainsNothing) {
  TemporaryFolder folder;
  const std::string model = testing::tiny_config.substr(0, testing::tiny_config.find("data:"));
  std::ofstream(folder / "tiny.yaml") << model;
  const Json json = look(folder / "tiny.yaml");
  EXPECT_EQ(json["parameters"]["trainable"], 0);
  EXPECT_FALSE(json.contains("stages"));
}

TEST(Inspect, CheckpointsAndRunsTellWhereTheyStandAndWhatTheyHold) {
  TemporaryFolder run;
  testing::save_tiny_network(run.path() / "checkpoints", 3);
  const auto newest = testing::save_tiny_network(run.path() / "checkpoints", 7);
  const Json json = look(run.path(), {}, /*verify=*/true);
  EXPECT_EQ(json["path"], newest.string());
  const Json& checkpoint = json["checkpoint"];
  EXPECT_EQ(checkpoint["update"], 7);
  EXPECT_EQ(checkpoint["tokens"], 7 * 24);
  EXPECT_EQ(checkpoint["stage"], "edges");
  EXPECT_EQ(checkpoint["layout"], (Json{{"vertex", 1}, {"data", 1}}));
  EXPECT_EQ(checkpoint["verified"], true);
  const Json& tensors = checkpoint["tensors"];
  const auto embedding =
      std::ranges::find_if(tensors, [](const Json& tensor) { return tensor["name"] == "embeddings.tokens.weight"; });
  ASSERT_NE(embedding, tensors.end());
  EXPECT_EQ((*embedding)["shape"], (Json{258, 16}));
  EXPECT_EQ((*embedding)["dtype"], "fp32");
  const std::string text = inspect(newest, {}, {});
  EXPECT_THAT(text, HasSubstr("update 7 "));
  EXPECT_THAT(text, HasSubstr("topology 1-2-1"));
  EXPECT_THAT(text, HasSubstr("embeddings.tokens.weight"));
}

TEST(Inspect, VerifyNamesTheBrokenFile) {
  TemporaryFolder run;
  const auto checkpoint = testing::save_tiny_network(run.path() / "checkpoints");
  damage(checkpoint / "edges.00000.h5", 1000);
  EXPECT_THAT(error_of([&] { inspect(checkpoint, {}, {.verify = true}); }), HasSubstr("edges.00000.h5: damaged"));
  cut_off(checkpoint / "edges.00000.h5", 10);
  EXPECT_THAT(error_of([&] { inspect(checkpoint, {}, {}); }), HasSubstr("edges.00000.h5: 10 bytes missing"));
  std::filesystem::remove(checkpoint / "manifest.json");
  EXPECT_THAT(error_of([&] { inspect(checkpoint, {}, {}); }), HasSubstr("this folder is no checkpoint"));
}

TEST(Inspect, RefusesWhatItCannotRead) {
  TemporaryFolder folder;
  EXPECT_THROW(inspect(folder / "nothing.yaml", {}, {}), ConfigError);
  EXPECT_THROW(inspect(folder / "nothing.json", {}, {}), ConfigError);
  EXPECT_THROW(inspect(folder / "nothing.safetensors", {}, {}), WeightsError);
  EXPECT_THROW(inspect(folder.path(), {}, {}), CheckpointError);
  const std::vector<std::string> overrides = {"model.topology=1"};
  EXPECT_THROW(inspect(folder.path(), overrides, {}), ConfigError);
}

}  // namespace
}  // namespace lmnet
