#include <ATen/ATen.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include <random>

#include "model/backbone.h"
#include "model/graph/errors.h"
#include "model/safetensors.h"
#include "tests/model/weights_helpers.h"

namespace lmnet {
namespace {

using test::TempFolder;

#ifdef __SANITIZE_ADDRESS__
constexpr uint64_t kMemory = 1 << 30;  // this sanitizer holds back what was freed
#else
constexpr uint64_t kMemory = 64 << 20;
#endif

/// While it lives, this process may take only so many bytes of memory more than it has.
class MemoryLimit {
 public:
  explicit MemoryLimit(uint64_t bytes) {
    uint64_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    getrlimit(RLIMIT_AS, &before_);
    const rlimit limit = {std::min(before_.rlim_max, pages * 4096 + bytes), before_.rlim_max};
    setrlimit(RLIMIT_AS, &limit);
  }
  ~MemoryLimit() { setrlimit(RLIMIT_AS, &before_); }

 private:
  rlimit before_{};
};

/// Changes texts a little, so that most of their form survives.
class Mutator {
 public:
  explicit Mutator(uint32_t seed) : random_(seed) {}

  std::string mutate(std::string text) {
    for (uint32_t changes = 1 + below(3); changes > 0; --changes) change(text);
    return text;
  }
  uint32_t below(size_t limit) { return static_cast<uint32_t>(random_() % std::max<size_t>(limit, 1)); }

 private:
  void change(std::string& text) {
    static const std::string kPieces[] = {"0",
                                          "-1",
                                          "18446744073709551615",
                                          "9223372036854775808",
                                          "1e308",
                                          "null",
                                          "[",
                                          "{",
                                          "]",
                                          "}",
                                          "\"",
                                          ",",
                                          ":",
                                          "\\u0000",
                                          "[[[[[[[[[[[[[[[[",
                                          "{\"a\":",
                                          "true",
                                          "F32",
                                          "4294967296",
                                          std::string(1, '\xff')};
    const size_t at = below(text.size()), length = std::min<size_t>(below(12), text.size() - at);
    switch (below(6)) {
      case 0:
        if (!text.empty()) text[at] = static_cast<char>(text[at] ^ (1 << below(8)));
        break;
      case 1:
        text.erase(at, length);
        break;
      case 2:
        text.insert(at, text.substr(below(text.size()), 1 + below(40)));
        break;
      case 3:
        text.replace(at, length, kPieces[below(std::size(kPieces))]);
        break;
      case 4:
        replace_number(text, at);
        break;
      default:
        text.resize(below(20) == 0 ? at : text.size());
    }
  }

  /// The number at or behind `at` becomes another one.
  void replace_number(std::string& text, size_t at) {
    const char* digits = "0123456789";
    const size_t begin = text.find_first_of(digits, at);
    if (begin == std::string::npos) return;
    const size_t end = std::min(text.find_first_not_of(digits, begin), text.size());
    static const char* kNumbers[] = {"0",
                                     "1",
                                     "2",
                                     "3",
                                     "8",
                                     "16",
                                     "4611686018427387904",
                                     "9223372036854775807",
                                     "18446744073709551615",
                                     "36893488147419103232",
                                     "0.5",
                                     "-3",
                                     "1e400",
                                     "65537"};
    text.replace(begin, end - begin, kNumbers[below(std::size(kNumbers))]);
  }

  std::mt19937 random_;
};

const char kHeader[] =
    R"({"__metadata__":{"format":"pt"},"model.a.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
    R"("b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},"c":{"dtype":"I64","shape":[],"data_offsets":[32,40]},)"
    R"("d":{"dtype":"F16","shape":[0,7],"data_offsets":[40,40]},"e":{"dtype":"BOOL","shape":[8],"data_offsets":[40,48]}})";

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

TEST(Fuzz, whole_files_are_read_or_refused) {
  TempFolder folder;
  const std::string whole = test::safetensors_bytes(kHeader, 48);
  const MemoryLimit limit(kMemory);
  Mutator mutator(3);
  for (int i = 0; i < 500; ++i) {
    const auto file = folder.write("x.safetensors", mutator.mutate(whole));
    try {
      const SafetensorsFile read(file);
      for (const SafetensorsEntry& entry : read.tensors()) read.tensor(entry).view({-1}).clone();
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
