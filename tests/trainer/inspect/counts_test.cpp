#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/trainer/checkpoint/helpers.h"
#include "tests/trainer/config/helpers.h"
#include "trainer/inspect/inspect.h"

namespace lmnet {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

/// The published numbers of parameters (lmnet-reference-spec 5), from nothing but a config.json.
class InspectCounts : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* folder = std::getenv("LMNET_TEST_DATA");
    configs_ =
        (folder ? fs::path(folder) : testing::configs_folder().parent_path().parent_path() / "shared/data") / "configs";
    if (!fs::exists(configs_)) GTEST_SKIP() << "no configs under " << configs_;
  }

  fs::path file(const std::string& name) const { return configs_ / (name + ".json"); }

  Json counts(const fs::path& what, const std::vector<std::string>& overrides = {}) const {
    return Json::parse(inspect(what, overrides, {.json = true}))["parameters"];
  }

  /// Of a network of this preset, with one stage.
  Json counts(const std::string& backbone, const std::string& preset, const std::string& topology,
              const std::string& trains = "[edges]") const {
    std::ofstream(folder_ / "x.yaml") << "model: {backbone: " << file(backbone) << ", preset: " << preset
                                      << ", topology: " << topology << "}\n"
                                      << "train: {stages: [{trains: " << trains << ", until: 1u, lr: 1}]}\n";
    return counts(folder_ / "x.yaml");
  }

 private:
  fs::path configs_;
  TemporaryFolder folder_;
};

TEST_F(InspectCounts, of_plain_backbones) {
  const std::map<std::string, int64_t> published = {{"gpt2", 124'439'808},
                                                    {"gpt2-medium", 354'823'168},
                                                    {"gpt2-xl", 1'557'611'200},
                                                    {"Qwen2.5-0.5B", 494'032'768},
                                                    {"Qwen2.5-1.5B-Instruct", 1'543'714'304},
                                                    {"Qwen2.5-3B", 3'085'938'688},
                                                    {"Qwen2.5-7B", 7'615'616'512},
                                                    {"Llama-3.2-1B", 1'235'814'400},
                                                    {"Llama-3.2-3B", 3'212'749'824}};
  for (const auto& [name, total] : published) {
    SCOPED_TRACE(name);
    EXPECT_EQ(counts(file(name))["total"], total);
    EXPECT_EQ(counts(name, "none", "1", "[vertices, embeddings]")["total"], total);
  }
}

struct Published {
  const char* name;
  int64_t block, block_edge, mlp_edge, five_edges, four_edges_and_mlp;
};

TEST_F(InspectCounts, of_edges_and_networks_on_Qwen_and_Llama) {
  const std::vector<Published> rows = {
      {"Qwen2.5-0.5B", 14'912'384, 15'716'096, 804'160, 78'580'480, 63'668'544},
      {"Qwen2.5-1.5B-Instruct", 46'797'824, 49'158'656, 2'361'600, 245'793'280, 198'996'224},
      {"Qwen2.5-3B", 77'076'992, 81'273'344, 4'197'376, 406'366'720, 329'290'752},
      {"Qwen2.5-7B", 233'057'792, 245'906'432, 12'850'432, 1'229'532'160, 996'476'160},
      {"Llama-3.2-1B", 60'821'504, 65'017'856, 4'197'376, 325'089'280, 264'268'800}};
  for (const Published& row : rows) {
    SCOPED_TRACE(row.name);
    const Json plain = counts(file(row.name)), causal = counts(row.name, "reference-causal", "1-2-1"),
               shared = counts(row.name, "reference-classifier", "1-2-1"),
               separate = counts(row.name, "reference-classifier-separate", "1-2-1");
    std::ifstream config(file(row.name));
    const Json backbone = Json::parse(config);
    const int64_t d = backbone["hidden_size"], blocks = backbone["num_hidden_layers"];
    EXPECT_EQ(plain["vertex"], blocks * row.block + d);
    EXPECT_EQ(causal["edge"], (Json{{"block", row.block_edge}}));
    EXPECT_EQ(causal["edges"], row.five_edges);
    EXPECT_EQ(causal["trainable"], row.five_edges);
    EXPECT_EQ(causal["total"], plain["total"].get<int64_t>() + row.five_edges);
    EXPECT_EQ(shared["edge"], (Json{{"block", row.block_edge}, {"mlp", row.mlp_edge}}));
    EXPECT_EQ(shared["edges"], row.four_edges_and_mlp);
    EXPECT_EQ(shared["head"], 4 * d) << "a head that classifies is never tied";
    EXPECT_EQ(separate["edges"], 4 * row.block_edge);
    EXPECT_EQ(separate["vertices"], 4 * plain["vertex"].get<int64_t>());
  }
}

TEST_F(InspectCounts, of_the_published_wide_network) {
  const Json count = counts("Qwen2.5-0.5B", "reference-causal", "1-4-4-4-1");
  EXPECT_EQ(count["edges"], 644'359'936);
  EXPECT_EQ(count["total"], 1'138'392'704);
  EXPECT_EQ(count["trainable"], 644'359'936);
  EXPECT_EQ(counts("Qwen2.5-0.5B", "reference-causal", "1-4-4-4-1", "[edges, vertices, embeddings]")["trainable"],
            1'138'392'704);
}

TEST_F(InspectCounts, of_the_networks_on_GPT_2_medium_whose_prefix_is_frozen_unless_named) {
  constexpr int64_t edge = 5'250'048, prefix = 32 * 1024;
  const std::map<std::string, int64_t> edges = {
      {"1-1", 4}, {"1-2-1", 7}, {"1-2-2-1", 11}, {"1-4-1", 11}, {"1-4-4-1", 27}};
  for (const auto& [topology, number] : edges) {
    SCOPED_TRACE(topology);
    const Json count = counts("gpt2-medium", "reference-gpt2", topology);
    EXPECT_EQ(count["edge"], (Json{{"attention", edge}, {"attention+attention+attention", 3 * edge}}));
    EXPECT_EQ(count["edges"], number * edge);
    EXPECT_EQ(count["trainable"], number * edge);
    EXPECT_EQ(count["prefix"], prefix);
    EXPECT_EQ(count["total"], 354'823'168 + number * edge + prefix);
  }
  EXPECT_EQ(counts("gpt2-medium", "reference-gpt2", "1-2-1")["trainable"], 36'750'336);
  EXPECT_EQ(counts("gpt2-medium", "reference-gpt2", "1-2-1", "[edges, prefix]")["trainable"], 36'750'336 + prefix);
}

}  // namespace
}  // namespace lmnet
