#include "model/backbone.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "model/graph/errors.h"
#include "model/network.h"

namespace lmnet {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Json = nlohmann::json;

/// A config.json of the samples: under LMNET_TEST_DATA, or ../shared/data beside the repository.
std::filesystem::path sample(const std::string& name) {
  const char* folder = std::getenv("LMNET_TEST_DATA");
  const auto repository = std::filesystem::path(__FILE__).parent_path().parent_path().parent_path();
  return (folder ? std::filesystem::path(folder) : repository / "../shared/data") / "configs" / (name + ".json");
}

std::string read(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

BackboneConfig parse(const Json& json) {
  return BackboneConfig::from_json(json.dump(), "config.json");
}

/// What the ConfigError says, which must start with where the config came from.
std::string refused(const Json& json) {
  try {
    parse(json);
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), StartsWith("config.json: "));
    return error.what();
  }
  ADD_FAILURE() << "no ConfigError";
  return "";
}

Json minimal(const Json& changes = Json::object()) {
  Json json = {{"model_type", "llama"},  {"hidden_size", 16},        {"intermediate_size", 24},
               {"num_hidden_layers", 3}, {"num_attention_heads", 4}, {"num_key_value_heads", 2},
               {"vocab_size", 50}};
  json.update(changes);
  return json;
}

int64_t total(const BackboneConfig& backbone, const char* topology, EdgeKind input_edge = EdgeKind::identity) {
  return count_parameters(backbone, Graph::layered(topology, {.input_edge = input_edge})).total();
}

int64_t edges(const BackboneConfig& backbone, const char* topology, EdgeKind input_edge = EdgeKind::identity) {
  return count_parameters(backbone, Graph::layered(topology, {.input_edge = input_edge})).edges;
}

#define SKIP_WITHOUT(file) \
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "no sample " << (file) << "; set LMNET_TEST_DATA"

TEST(Backbone, keys_are_read_with_the_familys_defaults) {
  const BackboneConfig config = parse(minimal());
  EXPECT_EQ(config.model_type, "llama");
  EXPECT_EQ(config.hidden_size, 16);
  EXPECT_EQ(config.intermediate_size, 24);
  EXPECT_EQ(config.blocks, 3);
  EXPECT_EQ(config.heads, 4);
  EXPECT_EQ(config.kv_heads, 2);
  EXPECT_EQ(config.head_width, 4);
  EXPECT_EQ(config.vocabulary, 50);
  EXPECT_EQ(config.norm_eps, 1e-6);
  EXPECT_EQ(config.rope_theta, 10000);
  EXPECT_FALSE(config.tied);
  EXPECT_FALSE(config.qkv_bias);
  EXPECT_TRUE(parse(minimal({{"model_type", "qwen2"}})).qkv_bias);
  EXPECT_EQ(parse(minimal({{"num_key_value_heads", nullptr}})).kv_heads, 4);
  EXPECT_EQ(parse(minimal({{"head_dim", 6}})).head_width, 6);
}

TEST(Backbone, both_dialects_name_the_rotary_base) {
  EXPECT_EQ(parse(minimal({{"rope_theta", 5e5}})).rope_theta, 5e5);
  EXPECT_EQ(parse(minimal({{"rope_parameters", {{"rope_theta", 1e6}, {"rope_type", "default"}}}})).rope_theta, 1e6);
  EXPECT_EQ(parse(minimal({{"rope_scaling", nullptr}, {"rope_theta", 7.0}})).rope_theta, 7);
}

TEST(Backbone, the_qwen_samples_are_read_and_counted) {
  const std::map<std::string, int64_t> totals = {{"Qwen2.5-0.5B", 494'032'768},
                                                 {"Qwen2.5-1.5B-Instruct", 1'543'714'304},
                                                 {"Qwen2.5-3B", 3'085'938'688},
                                                 {"Qwen2.5-7B", 7'615'616'512}};
  for (const auto& [name, parameters] : totals) {
    SKIP_WITHOUT(sample(name));
    const BackboneConfig config = BackboneConfig::from_json(read(sample(name)), name);
    EXPECT_EQ(config.rope_theta, 1e6) << name;
    EXPECT_EQ(config.norm_eps, 1e-6) << name;
    EXPECT_TRUE(config.qkv_bias) << name;
    EXPECT_EQ(config.tied, name != "Qwen2.5-7B");
    EXPECT_EQ(total(config, "1"), parameters) << name;
  }
}

TEST(Backbone, networks_on_the_samples_have_the_references_counts) {
  SKIP_WITHOUT(sample("Qwen2.5-0.5B"));
  auto load = [](const char* name) { return BackboneConfig::from_json(read(sample(name)), name); };
  const BackboneConfig half = load("Qwen2.5-0.5B");
  EXPECT_EQ(edges(half, "1", EdgeKind::block), 15'716'096);
  EXPECT_EQ(edges(half, "1-2-1", EdgeKind::block), 78'580'480);
  EXPECT_EQ(edges(half, "1-4-4-4-1", EdgeKind::block), 644'359'936);
  EXPECT_EQ(total(half, "1-4-4-4-1", EdgeKind::block), 1'138'392'704);
  EXPECT_EQ(edges(load("Qwen2.5-1.5B-Instruct"), "1-2-1", EdgeKind::block), 245'793'280);
  EXPECT_EQ(edges(load("Qwen2.5-3B"), "1-2-1", EdgeKind::block), 406'366'720);
  EXPECT_EQ(edges(load("Qwen2.5-7B"), "1-2-1", EdgeKind::block), 1'229'532'160);
}

TEST(Backbone, a_rotary_scaling_that_is_not_built_is_refused_by_its_name) {
  for (const auto& [name, parameters] :
       {std::pair{"Llama-3.2-1B", int64_t{1'235'814'400}}, std::pair{"Llama-3.2-3B", int64_t{3'212'749'824}}}) {
    SKIP_WITHOUT(sample(name));
    Json json = Json::parse(read(sample(name)));
    EXPECT_THAT(refused(json), AllOf(HasSubstr("rope_scaling"), HasSubstr("\"llama3\" is not built yet")));
    json.erase("rope_scaling");
    EXPECT_EQ(total(parse(json), "1"), parameters);
  }
  EXPECT_THAT(refused(minimal({{"rope_parameters", {{"rope_type", "yarn"}}}})), HasSubstr("\"yarn\""));
  EXPECT_THAT(refused(minimal({{"rope_scaling", {{"type", "linear"}, {"factor", 2.0}}}})), HasSubstr("\"linear\""));
  EXPECT_THAT(refused(minimal({{"rope_scaling", 2.0}})), HasSubstr("rope_scaling must be a mapping"));
}

TEST(Backbone, rotary_settings_that_change_the_mathematics_are_refused) {
  EXPECT_THAT(refused(minimal({{"rope_parameters", {{"rope_type", "default"}, {"partial_rotary_factor", 0.5}}}})),
              HasSubstr("partial_rotary_factor"));
  EXPECT_THAT(refused(minimal({{"rope_parameters", {{"rope_type", 3}}}})), HasSubstr("rope_type"));
  EXPECT_THAT(refused(minimal({{"rope_parameters", {{"rope_theta", "10000"}}}})), HasSubstr("rope_theta"));
  EXPECT_THAT(refused(minimal({{"rope_theta", 0}})), HasSubstr("rope_theta"));
}

TEST(Backbone, other_families_are_refused_by_their_name) {
  for (const char* name : {"gpt2", "gpt2-medium", "gpt2-xl"}) {
    SKIP_WITHOUT(sample(name));
    EXPECT_THAT(refused(Json::parse(read(sample(name)))),
                HasSubstr("model_type \"gpt2\" is not built; llama and qwen2 are"));
  }
}

TEST(Backbone, a_key_that_is_not_known_is_refused_and_one_without_effect_ignored) {
  EXPECT_THAT(refused(minimal({{"num_experts", 8}})), HasSubstr("unknown backbone key num_experts"));
  EXPECT_EQ(parse(minimal({{"attention_dropout", 0.0}, {"torch_dtype", "bfloat16"}, {"use_cache", true}})).blocks, 3);
}

TEST(Backbone, mathematics_that_is_not_built_is_refused) {
  EXPECT_THAT(refused(minimal({{"hidden_act", "gelu"}})), HasSubstr("hidden_act"));
  EXPECT_THAT(refused(minimal({{"attention_bias", true}})), HasSubstr("attention_bias"));
  EXPECT_THAT(refused(minimal({{"mlp_bias", true}})), HasSubstr("mlp_bias"));
  EXPECT_THAT(refused(minimal({{"use_sliding_window", true}})), HasSubstr("use_sliding_window"));
  EXPECT_THAT(refused(minimal({{"layer_types", {"full_attention", "sliding_attention"}}})), HasSubstr("layer_types"));
}

TEST(Backbone, values_that_cannot_be_are_refused) {
  for (const char* key :
       {"model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size"}) {
    Json json = minimal();
    json.erase(key);
    EXPECT_THAT(refused(json), HasSubstr(std::string("backbone key ") + key + " is missing"));
    EXPECT_THAT(refused(minimal({{key, Json::array()}})), HasSubstr(std::string(key) + " has the wrong type"));
  }
  EXPECT_THAT(refused(minimal({{"hidden_size", 0}})), HasSubstr("hidden_size must be above 0"));
  EXPECT_THAT(refused(minimal({{"hidden_size", 16.5}})), HasSubstr("hidden_size has the wrong type"));
  EXPECT_THAT(refused(minimal({{"num_key_value_heads", 3}})), HasSubstr("no multiple of num_key_value_heads 3"));
  EXPECT_THAT(refused(minimal({{"hidden_size", 18}})), HasSubstr("no multiple of num_attention_heads 4"));
  EXPECT_THAT(refused(minimal({{"head_dim", 5}})), HasSubstr("head_dim 5 must be even"));
  EXPECT_THROW(BackboneConfig::from_json("[1]", "x"), ConfigError);
  EXPECT_THROW(BackboneConfig::from_json("{", "x"), ConfigError);
}

TEST(Backbone, what_is_written_is_read_back) {
  for (const char* family : {"llama", "qwen2"})
    for (bool tied : {true, false}) {
      const BackboneConfig config = parse(minimal({{"model_type", family},
                                                   {"tie_word_embeddings", tied},
                                                   {"head_dim", 6},
                                                   {"rope_theta", 123.0},
                                                   {"rms_norm_eps", 1e-5}}));
      const BackboneConfig again = BackboneConfig::from_json(config.to_json(), "again");
      EXPECT_EQ(again.to_json(), config.to_json());
      EXPECT_EQ(again.qkv_bias, config.qkv_bias);
      EXPECT_EQ(again.head_width, 6);
      EXPECT_EQ(again.tied, tied);
    }
}

}  // namespace
}  // namespace lmnet
