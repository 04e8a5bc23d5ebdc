#include "trainer/inspect/weights.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "model/errors.h"
#include "model/graph/errors.h"
#include "model/hugging_face.h"
#include "tests/trainer/saving/helpers.h"
#include "trainer/hugging_face/export.h"
#include "trainer/together.h"

namespace lmnet {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

constexpr const char* kConfig =
    R"({"model_type":"gpt2","n_embd":8,"n_layer":2,"n_head":2,"n_positions":6,"vocab_size":10})";

/// A tiny GPT-2 in bf16, all of its values being `value`.
void write_gpt2(const TemporaryFolder& folder, double value) {
  const BackboneConfig config = BackboneConfig::from_json(kConfig, "config.json");
  std::ofstream(folder / "config.json") << kConfig;
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const auto& [name, shape] : backbone_tensors(config)) shapes[name] = shape;
  write_backbone_weights(
      folder.path(), config, [&](const std::string& name) { return at::full(shapes.at(name), value); },
      [](const std::string&) { return at::kBFloat16; });
}

Json look(const std::filesystem::path& what, bool verify = false) {
  return Json::parse(inspect(what, {}, {.json = true, .verify = verify}));
}

TEST(InspectWeights, AFolderShowsItsConfigAndItsTensors) {
  TemporaryFolder folder;
  write_gpt2(folder, 0.5);
  const Json json = look(folder.path(), /*verify=*/true);
  EXPECT_EQ(json["kind"], "backbone");
  EXPECT_EQ(json["parameters"]["total"], 10 * 8 + 6 * 8 + 2 * (12 * 64 + 13 * 8) + 2 * 8);
  EXPECT_EQ(json["weights"]["verified"], true);
  const Json expected = {{"name", "transformer.h.1.attn.c_attn.weight"},
                         {"dtype", "BF16"},
                         {"shape", {8, 24}},
                         {"file", "model.safetensors"}};
  EXPECT_THAT(json["weights"]["tensors"], ::testing::Contains(expected));
  EXPECT_THAT(inspect(folder.path(), {}, {}), AllOf(HasSubstr("28 tensors"), HasSubstr("transformer.wpe.weight"),
                                                    HasSubstr("BF16 [6, 8]"), Not(HasSubstr("finite"))));
}

TEST(InspectWeights, AnExportedNetworkShowsItsGraphAndItsTensors) {
  testing::TinyNetwork tiny;
  export_checkpoint(tiny.checkpoint, tiny.folder / "out");
  const Json json = look(tiny.folder / "out");
  EXPECT_EQ(json["kind"], "network");
  EXPECT_EQ(json["topology"], "1-2-1");
  EXPECT_EQ(json["weights"]["tensors"].size(), CheckpointReader(tiny.checkpoint).manifest().tensors.size());
  EXPECT_EQ(look(tiny.folder / "out/config.json")["parameters"], json["parameters"]);
  std::filesystem::remove(tiny.folder / "out/model.safetensors");
  write_safetensors_folder(tiny.folder / "out", {}, {});
  EXPECT_THROW(look(tiny.folder / "out"), WeightsError);
}

TEST(InspectWeights, AFileShowsItsTensors) {
  TemporaryFolder folder;
  write_gpt2(folder, 0.5);
  const Json json = look(folder / "model.safetensors");
  EXPECT_EQ(json["kind"], "safetensors");
  EXPECT_EQ(json["verified"], false);
  EXPECT_EQ(json["tensors"].size(), 28);
  EXPECT_THAT(inspect(folder / "model.safetensors", {}, {.verify = true}), HasSubstr("all values are finite"));
  const std::vector<std::string> overrides = {"model.topology=1"};
  EXPECT_THROW(inspect(folder / "model.safetensors", overrides, {}), ConfigError);
}

TEST(InspectWeights, BrokenWeightsAreNamedAndEndWithCodeThree) {
  TemporaryFolder folder;
  write_gpt2(folder, std::numeric_limits<double>::quiet_NaN());
  EXPECT_EQ(look(folder.path())["weights"]["verified"], false);
  auto refused = [&] {
    try {
      look(folder.path(), /*verify=*/true);
    } catch (const WeightsError& error) {
      EXPECT_EQ(exit_code(error), 3);
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(refused(), AllOf(HasSubstr("model.safetensors"), HasSubstr("no finite numbers")));
  std::filesystem::resize_file(folder / "model.safetensors", 3000);
  EXPECT_THAT(refused(), AllOf(HasSubstr("model.safetensors"), HasSubstr("the file has only")));
  std::filesystem::remove(folder / "model.safetensors");
  EXPECT_FALSE(look(folder.path()).contains("weights"));
}

}  // namespace
}  // namespace lmnet
