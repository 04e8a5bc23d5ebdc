#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace lmnet {

/// How far apart rotary positions are: Hugging Face's `rope_scaling` / `rope_parameters`.
struct Rope {
  enum class Kind { standard, linear, llama3 };
  Kind kind = Kind::standard;
  double theta = 10000;
  double factor = 1;                                           // linear, llama3
  double low_frequency_factor = 1, high_frequency_factor = 4;  // llama3
  double original_positions = 8192;                            // llama3: original_max_position_embeddings
  bool operator==(const Rope&) const = default;
};

/// The shape of a pre-trained decoder, as read from the keys of a Hugging Face `config.json`.
struct BackboneConfig {
  /// gpt2: LayerNorm, learned positions, biases everywhere, tanh GELU. llama, qwen2: RMSNorm, rotary positions, SwiGLU.
  enum class Family { gpt2, llama, qwen2 };

  Family family = Family::llama;
  int64_t hidden_size = 0;        // D
  int64_t intermediate_size = 0;  // F
  int64_t blocks = 0;             // num_hidden_layers
  int64_t heads = 0;              // H, query heads
  int64_t kv_heads = 0;           // G
  int64_t head_width = 0;         // K
  int64_t vocabulary = 0;         // V
  int64_t positions = 0;          // P, the longest sequence; gpt2: rows of the learned table; 0 = not given
  double norm_eps = 1e-6;
  double initializer_range = 0.02;
  Rope rope;
  bool qkv_bias = false;
  bool tied = false;  // the head is the embedding's weight

  bool operator==(const BackboneConfig&) const = default;

  bool gpt2() const { return family == Family::gpt2; }
  int64_t qkv_width() const { return (heads + 2 * kv_heads) * head_width; }

  /// Reads both dialects (before and since transformers 5). Throws ConfigError, starting with `where`, for a missing
  /// or unknown key, another family, and everything whose mathematics is not built: nothing is loaded wrongly.
  static BackboneConfig from_json(std::string_view json, const std::string& where);

  /// The config.json that from_json() reads back.
  std::string to_json() const;
};

/// `gpt2`, `llama`, `qwen2`: the `model_type` of a config.json.
std::string_view to_string(BackboneConfig::Family family);

}  // namespace lmnet
