#include "model/backbone.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "model/graph/errors.h"
#include "model/network.h"
#include "tests/samples.h"

namespace lmnet {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Json = nlohmann::json;

/// A config.json of the samples.
std::filesystem::path sample(const std::string& name) {
  return test::sample("configs/" + name + ".json");
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

Json tiny_gpt2(const Json& changes = Json::object()) {
  Json json = {{"model_type", "gpt2"}, {"n_embd", 16}, {"n_layer", 3}, {"n_head", 4}, {"vocab_size", 50}};
  json.update(changes);
  return json;
}

Json llama3(const Json& changes = Json::object()) {
  Json json = {{"rope_type", "llama3"},
               {"factor", 8.0},
               {"low_freq_factor", 1.0},
               {"high_freq_factor", 4.0},
               {"original_max_position_embeddings", 32}};
  json.update(changes);
  return json;
}

int64_t total(const BackboneConfig& backbone, const char* topology, EdgeKinds input_edge = {}) {
  return count_parameters(backbone, Graph::layered(topology, {.input_edge = input_edge})).total();
}

int64_t edges(const BackboneConfig& backbone, const char* topology, EdgeKinds input_edge = {}) {
  return count_parameters(backbone, Graph::layered(topology, {.input_edge = input_edge})).edges;
}

#define SKIP_WITHOUT(file) \
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "no sample " << (file) << "; set LMNET_TEST_DATA"

TEST(Backbone, keys_are_read_with_the_familys_defaults) {
  const BackboneConfig config = parse(minimal());
  EXPECT_EQ(config.family, BackboneConfig::Family::llama);
  EXPECT_EQ(config.hidden_size, 16);
  EXPECT_EQ(config.intermediate_size, 24);
  EXPECT_EQ(config.blocks, 3);
  EXPECT_EQ(config.heads, 4);
  EXPECT_EQ(config.kv_heads, 2);
  EXPECT_EQ(config.head_width, 4);
  EXPECT_EQ(config.vocabulary, 50);
  EXPECT_EQ(config.norm_eps, 1e-6);
  EXPECT_EQ(config.rope.theta, 10000);
  EXPECT_FALSE(config.tied);
  EXPECT_FALSE(config.qkv_bias);
  EXPECT_TRUE(parse(minimal({{"model_type", "qwen2"}})).qkv_bias);
  EXPECT_EQ(parse(minimal({{"num_key_value_heads", nullptr}})).kv_heads, 4);
  EXPECT_EQ(parse(minimal({{"head_dim", 6}})).head_width, 6);
  EXPECT_EQ(parse(minimal({{"head_dim", nullptr}})).head_width, 4);
  EXPECT_EQ(config.initializer_range, 0.02);
  EXPECT_EQ(config.positions, 0);
}

TEST(Backbone, both_dialects_name_the_rotary_base) {
  EXPECT_EQ(parse(minimal({{"rope_theta", 5e5}})).rope.theta, 5e5);
  EXPECT_EQ(parse(minimal({{"rope_parameters", {{"rope_theta", 1e6}, {"rope_type", "default"}}}})).rope.theta, 1e6);
  EXPECT_EQ(parse(minimal({{"rope_scaling", nullptr}, {"rope_theta", 7.0}})).rope.theta, 7);
}

TEST(Backbone, the_qwen_samples_are_read_and_counted) {
  const std::map<std::string, int64_t> totals = {{"Qwen2.5-0.5B", 494'032'768},
                                                 {"Qwen2.5-1.5B-Instruct", 1'543'714'304},
                                                 {"Qwen2.5-3B", 3'085'938'688},
                                                 {"Qwen2.5-7B", 7'615'616'512}};
  for (const auto& [name, parameters] : totals) {
    SKIP_WITHOUT(sample(name));
    const BackboneConfig config = BackboneConfig::from_json(read(sample(name)), name);
    EXPECT_EQ(config.rope.theta, 1e6) << name;
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
  EXPECT_EQ(edges(half, "1", {EdgeKind::block}), 15'716'096);
  EXPECT_EQ(edges(half, "1-2-1", {EdgeKind::block}), 78'580'480);
  EXPECT_EQ(edges(half, "1-4-4-4-1", {EdgeKind::block}), 644'359'936);
  EXPECT_EQ(total(half, "1-4-4-4-1", {EdgeKind::block}), 1'138'392'704);
  EXPECT_EQ(edges(load("Qwen2.5-1.5B-Instruct"), "1-2-1", {EdgeKind::block}), 245'793'280);
  EXPECT_EQ(edges(load("Qwen2.5-3B"), "1-2-1", {EdgeKind::block}), 406'366'720);
  EXPECT_EQ(edges(load("Qwen2.5-7B"), "1-2-1", {EdgeKind::block}), 1'229'532'160);
}

TEST(Backbone, the_llama_samples_are_read_and_counted) {
  for (const auto& [name, parameters] :
       {std::pair{"Llama-3.2-1B", int64_t{1'235'814'400}}, std::pair{"Llama-3.2-3B", int64_t{3'212'749'824}}}) {
    SKIP_WITHOUT(sample(name));
    const BackboneConfig config = BackboneConfig::from_json(read(sample(name)), name);
    EXPECT_EQ(config.rope, (Rope{Rope::Kind::llama3, 5e5, 32, 1, 4, 8192}));
    EXPECT_EQ(config.positions, 131072);
    EXPECT_TRUE(config.tied);
    EXPECT_EQ(total(config, "1"), parameters);
  }
}

TEST(Backbone, the_gpt2_samples_are_read_and_counted) {
  for (const auto& [name, parameters] :
       {std::pair{"gpt2", int64_t{124'439'808}}, std::pair{"gpt2-medium", int64_t{354'823'168}},
        std::pair{"gpt2-xl", int64_t{1'557'611'200}}}) {
    SKIP_WITHOUT(sample(name));
    const BackboneConfig config = BackboneConfig::from_json(read(sample(name)), name);
    EXPECT_TRUE(config.gpt2() && config.tied && config.qkv_bias);
    EXPECT_EQ(config.positions, 1024);
    EXPECT_EQ(config.head_width, 64);
    EXPECT_EQ(config.kv_heads, config.heads);
    EXPECT_EQ(config.intermediate_size, 4 * config.hidden_size);
    EXPECT_EQ(total(config, "1"), parameters);
  }
}

TEST(Backbone, gpt2_has_keys_and_defaults_of_its_own) {
  const BackboneConfig config = parse(tiny_gpt2());
  EXPECT_EQ(config.hidden_size, 16);
  EXPECT_EQ(config.intermediate_size, 64);
  EXPECT_EQ(config.positions, 1024);
  EXPECT_EQ(config.norm_eps, 1e-5);
  EXPECT_TRUE(config.tied);
  EXPECT_EQ(parse(tiny_gpt2({{"n_inner", 40}})).intermediate_size, 40);
  EXPECT_EQ(parse(tiny_gpt2({{"n_positions", 32}})).positions, 32);
  EXPECT_FALSE(parse(tiny_gpt2({{"tie_word_embeddings", false}})).tied);
  EXPECT_EQ(parse(tiny_gpt2({{"initializer_range", 0.5}})).initializer_range, 0.5);
  EXPECT_EQ(parse(tiny_gpt2({{"attn_pdrop", 0.1}, {"summary_type", "cls_index"}, {"reorder_and_upcast_attn", true}})),
            config);
  EXPECT_THAT(refused(tiny_gpt2({{"activation_function", "relu"}})), HasSubstr("activation_function"));
  EXPECT_THAT(refused(tiny_gpt2({{"scale_attn_weights", false}})), HasSubstr("scale_attn_weights"));
  EXPECT_THAT(refused(tiny_gpt2({{"scale_attn_by_inverse_layer_idx", true}})), HasSubstr("inverse_layer_idx"));
  EXPECT_THAT(refused(tiny_gpt2({{"add_cross_attention", true}})), HasSubstr("add_cross_attention"));
  EXPECT_THAT(refused(tiny_gpt2({{"hidden_size", 16}})), HasSubstr("unknown backbone key hidden_size"));
  EXPECT_THAT(refused(tiny_gpt2({{"n_head", 3}})), HasSubstr("n_embd 16 is no multiple of n_head 3"));
}

TEST(Backbone, rotary_scaling_is_read_in_all_its_dialects) {
  const Json linear = {{"type", "linear"}, {"factor", 4.0}};
  const Rope expected{.kind = Rope::Kind::linear, .theta = 500, .factor = 4};
  EXPECT_EQ(parse(minimal({{"rope_theta", 500}, {"rope_scaling", linear}})).rope, expected);
  EXPECT_EQ(parse(minimal({{"rope_theta", 500}, {"rope_scaling", {{"rope_type", "linear"}, {"factor", 4.0}}}})).rope,
            expected);
  EXPECT_EQ(
      parse(minimal({{"rope_parameters", {{"rope_type", "linear"}, {"factor", 4.0}, {"rope_theta", 500.0}}}})).rope,
      expected);
  EXPECT_EQ(parse(minimal({{"model_type", "qwen2"}, {"rope_theta", 500}, {"rope_scaling", linear}})).rope, expected);
  EXPECT_EQ(parse(minimal({{"rope_parameters", llama3()}})).rope, (Rope{Rope::Kind::llama3, 10000, 8, 1, 4, 32}));
  EXPECT_EQ(parse(minimal({{"rope_scaling", {{"type", "default"}}}})).rope, Rope{});
}

TEST(Backbone, rotary_settings_that_contradict_each_other_are_refused) {
  const Json linear = {{"rope_type", "linear"}, {"factor", 4.0}, {"rope_theta", 500.0}};
  EXPECT_THAT(refused(minimal({{"rope_theta", 400}, {"rope_parameters", linear}})), HasSubstr("rope_theta: differs"));
  EXPECT_THAT(refused(minimal({{"rope_scaling", llama3()}, {"rope_parameters", linear}})),
              HasSubstr("rope_scaling and rope_parameters differ"));
  EXPECT_THAT(refused(minimal({{"rope_scaling", {{"rope_type", "default"}, {"type", "mrope"}}}})), HasSubstr("type"));
  EXPECT_THAT(refused(minimal({{"rope_parameters", llama3({{"high_freq_factor", 1.0}})}})),
              HasSubstr("high_freq_factor"));
}

TEST(Backbone, rotary_settings_that_are_not_built_are_refused_by_their_name) {
  for (const char* type : {"yarn", "dynamic", "longrope", "mrope", "su"})
    for (const char* key : {"rope_scaling", "rope_parameters"})
      for (const char* type_key : {"type", "rope_type"})
        EXPECT_THAT(refused(minimal({{key, {{type_key, type}, {"factor", 2.0}}}})),
                    AllOf(HasSubstr(key), HasSubstr("\"" + std::string(type) + "\" is not built")));
  EXPECT_THAT(refused(minimal({{"rope_scaling", 2.0}})), HasSubstr("rope_scaling must be a mapping"));
  EXPECT_THAT(refused(minimal({{"rope_scaling", {{"type", "linear"}}}})), HasSubstr("rope_scaling.factor is missing"));
  Json incomplete = llama3();
  incomplete.erase("original_max_position_embeddings");
  EXPECT_THAT(refused(minimal({{"rope_scaling", incomplete}})),
              HasSubstr("original_max_position_embeddings is missing"));
}

TEST(Backbone, rotary_settings_that_change_the_mathematics_are_refused) {
  EXPECT_THAT(refused(minimal({{"rope_parameters", {{"rope_type", "default"}, {"partial_rotary_factor", 0.5}}}})),
              HasSubstr("partial_rotary_factor"));
  EXPECT_THAT(refused(minimal({{"partial_rotary_factor", 0.5}})), HasSubstr("partial_rotary_factor"));
  EXPECT_THAT(refused(minimal({{"rope_scaling", {{"rope_type", "default"}, {"mrope_section", {1, 1}}}}})),
              HasSubstr("rope_scaling.mrope_section"));
  EXPECT_THAT(refused(minimal({{"rope_parameters", {{"rope_type", 3}}}})), HasSubstr("rope_type"));
  EXPECT_THAT(refused(minimal({{"rope_parameters", {{"rope_theta", "10000"}}}})), HasSubstr("rope_theta"));
  EXPECT_THAT(refused(minimal({{"rope_theta", 0}})), HasSubstr("rope_theta"));
}

TEST(Backbone, other_families_are_refused_by_their_name) {
  for (const char* name : {"mistral", "qwen2_moe", "qwen3", "mixtral", "gpt_neox"})
    EXPECT_THAT(refused(minimal({{"model_type", name}})),
                HasSubstr("model_type \"" + std::string(name) + "\" is not built; gpt2, llama and qwen2 are"));
}

TEST(Backbone, a_key_that_is_not_known_is_refused_and_one_without_effect_ignored) {
  EXPECT_THAT(refused(minimal({{"num_experts", 8}})), HasSubstr("unknown backbone key num_experts"));
  EXPECT_EQ(parse(minimal({{"attention_dropout", 0.0}, {"torch_dtype", "bfloat16"}, {"use_cache", true}})).blocks, 3);
}

TEST(Backbone, mathematics_that_is_not_built_is_refused) {
  EXPECT_THAT(refused(minimal({{"hidden_act", "gelu"}})), HasSubstr("hidden_act"));
  EXPECT_THAT(refused(minimal({{"attention_bias", true}})), HasSubstr("attention_bias"));
  EXPECT_THAT(refused(minimal({{"model_type", "qwen2"}, {"attention_bias", false}})), HasSubstr("attention_bias"));
  EXPECT_THAT(refused(minimal({{"mlp_bias", true}})), HasSubstr("mlp_bias"));
  EXPECT_THAT(refused(minimal({{"auto_map", {{"AutoModel", "x.Y"}}}})), HasSubstr("auto_map"));
  EXPECT_THAT(refused(minimal({{"quantization_config", {{"bits", 4}}}})), HasSubstr("quantization_config"));
  EXPECT_THAT(refused(minimal({{"use_mrope", true}})), HasSubstr("use_mrope"));
}

TEST(Backbone, a_sliding_window_is_refused_only_where_it_is_used) {
  const Json qwen2 = {{"model_type", "qwen2"}, {"sliding_window", 16}, {"max_window_layers", 1}};
  const Json full = {"full_attention", "full_attention", "full_attention"};
  auto with = [&](const Json& changes) {
    Json json = minimal(qwen2);
    json.update(changes);
    return json;
  };
  EXPECT_EQ(parse(with(Json::object())), parse(minimal({{"model_type", "qwen2"}})));
  EXPECT_EQ(parse(with({{"use_sliding_window", false}, {"layer_types", full}})), parse(with(Json::object())));
  EXPECT_THAT(refused(with({{"use_sliding_window", true}})), HasSubstr("use_sliding_window"));
  EXPECT_THAT(refused(with({{"layer_types", {"full_attention", "sliding_attention", "full_attention"}}})),
              HasSubstr("layer_types"));
  EXPECT_THAT(refused(with({{"layer_types", {"full_attention"}}})), HasSubstr("layer_types"));
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

TEST(Backbone, absurd_sizes_are_refused) {
  for (const char* key : {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size",
                          "num_key_value_heads", "head_dim", "max_position_embeddings"}) {
    for (uint64_t size : {uint64_t{1} << 62, uint64_t{1} << 63, ~uint64_t{0}, uint64_t{1} << 25})
      EXPECT_THAT(refused(minimal({{key, size}})), HasSubstr(std::string(key) + " is " + std::to_string(size)));
    EXPECT_THAT(refused(minimal({{key, -1}})), HasSubstr(std::string(key) + " must be above 0"));
  }
  EXPECT_THAT(refused(minimal({{"hidden_size", 1 << 24}, {"vocab_size", 1 << 24}, {"num_hidden_layers", 10'000}})),
              HasSubstr("parameters"));
}

TEST(Backbone, what_is_written_is_read_back) {
  const Json scaling[] = {nullptr, {{"rope_type", "linear"}, {"factor", 2.5}}, llama3()};
  for (const char* family : {"llama", "qwen2"})
    for (bool tied : {true, false})
      for (const Json& rope : scaling) {
        const BackboneConfig config = parse(minimal({{"model_type", family},
                                                     {"tie_word_embeddings", tied},
                                                     {"head_dim", 6},
                                                     {"rope_theta", 123.0},
                                                     {"rope_scaling", rope},
                                                     {"max_position_embeddings", 77},
                                                     {"initializer_range", 0.125},
                                                     {"rms_norm_eps", 1e-5}}));
        EXPECT_EQ(BackboneConfig::from_json(config.to_json(), "again"), config) << config.to_json();
      }
  const BackboneConfig gpt2 = parse(tiny_gpt2({{"n_inner", 40}, {"n_positions", 9}, {"tie_word_embeddings", false}}));
  EXPECT_EQ(BackboneConfig::from_json(gpt2.to_json(), "again"), gpt2);
}

}  // namespace
}  // namespace lmnet
