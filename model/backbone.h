#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace lmnet {

/// The shape of a pre-trained decoder (`llama`, `qwen2`), as read from the keys of a Hugging Face `config.json`.
struct BackboneConfig {
  std::string model_type;
  int64_t hidden_size = 0;        // D
  int64_t intermediate_size = 0;  // F
  int64_t blocks = 0;             // num_hidden_layers
  int64_t heads = 0;              // H, query heads
  int64_t kv_heads = 0;           // G
  int64_t head_width = 0;         // K
  int64_t vocabulary = 0;         // V
  double norm_eps = 1e-6;
  double rope_theta = 10000;
  bool qkv_bias = false;
  bool tied = false;  // the head is the embedding's weight

  int64_t qkv_width() const { return (heads + 2 * kv_heads) * head_width; }

  /// Reads both dialects (before and since transformers 5). Throws ConfigError, starting with `where`, for a missing
  /// or unknown key, another family, and everything whose mathematics is not built: nothing is loaded wrongly.
  static BackboneConfig from_json(std::string_view json, const std::string& where);

  /// The config.json that from_json() reads back.
  std::string to_json() const;
};

}  // namespace lmnet
