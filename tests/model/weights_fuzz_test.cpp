#include <fmt/format.h>
#include <gtest/gtest.h>

#include "model/backbone.h"
#include "model/errors.h"
#include "model/graph/errors.h"
#include "model/safetensors_header.h"
#include "tests/model/mutator.h"

namespace lmnet {
namespace {

using test::kHeader;
using test::kMemory;
using test::MemoryLimit;
using test::Mutator;

TEST(Fuzz, headers_are_read_or_refused) {
  const MemoryLimit limit(kMemory);
  Mutator mutator(1);
  int read = 0, refused = 0;
  for (int i = 0; i < 60'000; ++i) {
    const std::string header = mutator.mutate(kHeader);
    try {
      uint64_t bytes = 0;
      for (const SafetensorsEntry& entry : parse_safetensors_header(header, 48, "x.safetensors"))
        bytes += entry.bytes();
      EXPECT_EQ(bytes, 48) << header;
      ++read;
    } catch (const WeightsError& error) {
      EXPECT_LT(std::string_view(error.what()).size(), 5000);
      ++refused;
    }
  }
  EXPECT_GT(read, 1000);
  EXPECT_GT(refused, 1000);
}

TEST(Fuzz, indices_are_read_or_refused) {
  const MemoryLimit limit(kMemory);
  Mutator mutator(2);
  const std::string index = R"({"metadata":{"total_size":48},"weight_map":{"a":"model-1.safetensors","b":"model-2"}})";
  for (int i = 0; i < 30'000; ++i) {
    try {
      EXPECT_FALSE(parse_safetensors_index(mutator.mutate(index), "index").empty());
    } catch (const WeightsError&) {
    }
  }
}

TEST(Fuzz, configs_are_read_or_refused) {
  const std::string configs[] = {
      R"({"model_type":"gpt2","n_embd":16,"n_layer":2,"n_head":4,"n_positions":32,"n_inner":null,"vocab_size":50,)"
      R"("activation_function":"gelu_new","layer_norm_epsilon":1e-05,"task_specific_params":{"a":[1,{}]}})",
      R"({"model_type":"llama","hidden_size":16,"intermediate_size":24,"num_hidden_layers":2,"num_attention_heads":4,)"
      R"("num_key_value_heads":2,"vocab_size":50,"rope_theta":500.0,"rope_scaling":{"rope_type":"llama3","factor":8.0,)"
      R"("low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":32},"rms_norm_eps":1e-06})",
      R"({"model_type":"qwen2","hidden_size":16,"intermediate_size":24,"num_hidden_layers":2,"num_attention_heads":4,)"
      R"("num_key_value_heads":2,"vocab_size":50,"rope_parameters":{"rope_type":"default","rope_theta":1000000.0},)"
      R"("layer_types":["full_attention","full_attention"],"use_sliding_window":false,"sliding_window":null})"};
  const MemoryLimit limit(kMemory);
  Mutator mutator(4);
  int read = 0, refused = 0;
  for (int i = 0; i < 60'000; ++i) {
    const std::string text = mutator.mutate(configs[mutator.below(std::size(configs))]);
    try {
      const BackboneConfig config = BackboneConfig::from_json(text, "config.json");
      EXPECT_EQ(BackboneConfig::from_json(config.to_json(), "again"), config) << text;
      ++read;
    } catch (const ConfigError& error) {
      EXPECT_LT(std::string_view(error.what()).size(), 5000);
      ++refused;
    }
  }
  EXPECT_GT(read, 1000);
  EXPECT_GT(refused, 1000);
}

TEST(Fuzz, deep_nesting_and_long_lists_are_refused_at_little_cost) {
  const MemoryLimit limit(kMemory);
  for (const char* piece : {"[", "{\"a\":", "[],", "0,", "\"\":{},"}) {
    std::string text = "{\"a\":{\"shape\":[";
    while (text.size() < 1 << 20) text += piece;
    EXPECT_THROW(parse_safetensors_header(text, 0, "x"), WeightsError) << piece;
    EXPECT_THROW(parse_safetensors_index(text, "x"), WeightsError) << piece;
    EXPECT_THROW(BackboneConfig::from_json(text, "x"), ConfigError) << piece;
  }
  const std::string nested = std::string(1 << 19, '[') + std::string(1 << 19, ']');
  for (const char* key : {"hidden_size", "rope_scaling", "layer_types", "model_type", "unknown"})
    EXPECT_THROW(BackboneConfig::from_json(fmt::format("{{\"{}\":{}}}", key, nested), "x"), ConfigError) << key;
}

}  // namespace
}  // namespace lmnet
