#include "model/backbone.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "model/graph/errors.h"

namespace lmnet {
namespace {

using Json = nlohmann::json;

/// Keys that do not change the mathematics of training here.
const std::set<std::string> kIgnored = {"architectures",
                                        "attention_dropout",
                                        "bos_token_id",
                                        "eos_token_id",
                                        "pad_token_id",
                                        "initializer_range",
                                        "max_position_embeddings",
                                        "max_window_layers",
                                        "torch_dtype",
                                        "dtype",
                                        "transformers_version",
                                        "use_cache",
                                        "use_mrope",
                                        "pretraining_tp",
                                        "_name_or_path",
                                        "sliding_window",
                                        "layer_types",
                                        "rope_scaling",
                                        "rope_parameters"};

class Reader {
 public:
  Reader(const Json& json, const std::string& where) : json_(json), where_(where) {}

  template <typename T>
  T get(const char* key, std::optional<T> fallback = {}) {
    used_.insert(key);
    auto found = json_.find(key);
    if (found == json_.end() || found->is_null()) {
      if (fallback) return *fallback;
      fail("backbone key {} is missing", key);
    }
    bool fits = std::is_same_v<T, bool>          ? found->is_boolean()
                : std::is_same_v<T, std::string> ? found->is_string()
                : std::is_same_v<T, int64_t>     ? found->is_number_integer()
                                                 : found->is_number();
    if (!fits) fail("backbone key {} has the wrong type: {}", key, found->dump());
    return found->get<T>();
  }

  int64_t positive(const char* key, std::optional<int64_t> fallback = {}) {
    int64_t value = get<int64_t>(key, fallback);
    if (value < 1) fail("backbone key {} must be above 0, not {}", key, value);
    return value;
  }

  void refuse(const char* key, bool unwanted, const char* why) {
    used_.insert(key);
    if (unwanted) fail("backbone key {}: {}", key, why);
  }

  void refuse_unknown() const {
    for (const auto& [key, value] : json_.items())
      if (!used_.contains(key) && !kIgnored.contains(key))
        fail("unknown backbone key {}: it might change the mathematics; remove it if it does not", key);
  }

  template <typename... A>
  [[noreturn]] void fail(fmt::format_string<A...> text, A&&... arguments) const {
    throw ConfigError(where_ + ": " + fmt::format(text, std::forward<A>(arguments)...));
  }

 private:
  const Json& json_;
  const std::string& where_;
  std::set<std::string> used_;
};

double read_rope_theta(const Json& json, const std::string& where, Reader& reader) {
  double theta = reader.get<double>("rope_theta", 10000.0);
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    auto scaling = json.find(key);
    if (scaling == json.end() || scaling->is_null()) continue;
    if (!scaling->is_object()) reader.fail("backbone key {} must be a mapping", key);
    Reader nested(*scaling, where);
    std::string type = nested.get<std::string>("rope_type", nested.get<std::string>("type", "default"));
    if (type != "default") reader.fail("backbone key {}: rope type \"{}\" is not built yet, only default", key, type);
    theta = nested.get<double>("rope_theta", theta);
    nested.refuse_unknown();
  }
  if (!(theta > 0)) reader.fail("backbone key rope_theta must be above 0, not {}", theta);
  return theta;
}

}  // namespace

BackboneConfig BackboneConfig::from_json(std::string_view text, const std::string& where) {
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) throw ConfigError(where + ": the backbone's config is no JSON object");
  Reader reader(json, where);
  BackboneConfig config;
  config.model_type = reader.get<std::string>("model_type");
  if (config.model_type != "llama" && config.model_type != "qwen2")
    reader.fail("model_type \"{}\" is not built; llama and qwen2 are", config.model_type);
  config.hidden_size = reader.positive("hidden_size");
  config.intermediate_size = reader.positive("intermediate_size");
  config.blocks = reader.positive("num_hidden_layers");
  config.heads = reader.positive("num_attention_heads");
  config.kv_heads = reader.positive("num_key_value_heads", config.heads);
  config.vocabulary = reader.positive("vocab_size");
  if (config.heads % config.kv_heads != 0)
    reader.fail("num_attention_heads {} is no multiple of num_key_value_heads {}", config.heads, config.kv_heads);
  if (!json.contains("head_dim") && config.hidden_size % config.heads != 0)
    reader.fail("hidden_size {} is no multiple of num_attention_heads {}", config.hidden_size, config.heads);
  config.head_width = reader.positive("head_dim", config.hidden_size / config.heads);
  if (config.head_width % 2 != 0) reader.fail("head_dim {} must be even for rotary positions", config.head_width);
  config.norm_eps = reader.get<double>("rms_norm_eps", 1e-6);
  config.rope_theta = read_rope_theta(json, where, reader);
  config.tied = reader.get<bool>("tie_word_embeddings", false);
  config.qkv_bias = config.model_type == "qwen2";
  reader.refuse("hidden_act", reader.get<std::string>("hidden_act", "silu") != "silu", "only silu is built");
  reader.refuse("attention_bias", reader.get<bool>("attention_bias", config.qkv_bias) != config.qkv_bias,
                "a bias on the output projection is not built");
  reader.refuse("mlp_bias", reader.get<bool>("mlp_bias", false), "a bias in the feed-forward part is not built");
  reader.refuse("use_sliding_window", reader.get<bool>("use_sliding_window", false), "sliding windows are not built");
  if (auto types = json.find("layer_types"); types != json.end() && !types->is_null())
    for (const Json& type : *types)
      reader.refuse("layer_types", type != "full_attention", "only full_attention is built");
  reader.refuse_unknown();
  return config;
}

std::string BackboneConfig::to_json() const {
  return Json{{"model_type", model_type},    {"hidden_size", hidden_size},   {"intermediate_size", intermediate_size},
              {"num_hidden_layers", blocks}, {"num_attention_heads", heads}, {"num_key_value_heads", kv_heads},
              {"head_dim", head_width},      {"vocab_size", vocabulary},     {"rms_norm_eps", norm_eps},
              {"rope_theta", rope_theta},    {"tie_word_embeddings", tied}}
      .dump();
}

}  // namespace lmnet
