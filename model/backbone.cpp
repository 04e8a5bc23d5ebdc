#include "model/backbone.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "model/errors.h"
#include "model/graph/errors.h"

namespace lmnet {
namespace {

using Json = nlohmann::json;
using Family = BackboneConfig::Family;

/// Larger than anything that is built, and so small that products of two sizes fit 64 bits.
constexpr int64_t kLargestSize = 1 << 24, kMostBlocks = 10'000;
constexpr double kMostParameters = 1e15;
constexpr size_t kLongestText = 1 << 24;
constexpr int kDeepest = 16;

// clang-format off
/// Keys that change neither what a model computes nor how it learns without dropout.
const std::set<std::string_view> kIgnored = {
    "_attn_implementation_autoset", "_commit_hash", "_name_or_path", "_num_labels", "architectures",
    "attention_dropout", "bad_words_ids", "begin_suppress_tokens", "bos_token_id", "chunk_size_feed_forward",
    "cross_attention_hidden_size", "decoder_start_token_id", "diversity_penalty", "do_sample", "dtype",
    "early_stopping", "encoder_no_repeat_ngram_size", "eos_token_id", "exponential_decay_length_penalty",
    "finetuning_task", "forced_bos_token_id", "forced_eos_token_id", "gradient_checkpointing", "id2label",
    "is_decoder", "is_llama_config", "keys_to_ignore_at_inference", "label2id", "length_penalty", "max_length",
    "min_length", "no_repeat_ngram_size", "num_beam_groups", "num_beams", "num_labels", "num_return_sequences",
    "output_attentions", "output_hidden_states", "output_scores", "pad_token_id", "prefix", "problem_type",
    "remove_invalid_values", "repetition_penalty", "return_dict", "return_dict_in_generate",
    "sep_token_id", "suppress_tokens", "task_specific_params", "temperature", "tf_legacy_loss", "tie_encoder_decoder",
    "tokenizer_class", "top_k", "top_p", "torch_dtype", "torchscript", "transformers_version", "typical_p",
    "unsloth_fixed", "unsloth_version", "use_bfloat16", "use_cache"};
const std::set<std::string_view> kIgnoredByGpt2 = {
    "attn_pdrop", "embd_pdrop", "n_ctx", "n_special", "output_past", "predict_special_tokens",
    "reorder_and_upcast_attn", "resid_pdrop", "summary_activation", "summary_first_dropout", "summary_proj_to_labels",
    "summary_type", "summary_use_proj"};
const std::set<std::string_view> kIgnoredByLlama = {
    "pretraining_tp"};
const std::set<std::string_view> kIgnoredByQwen2 = {
    "max_window_layers", "sliding_window"};  // use_sliding_window is read
// clang-format on

const std::set<std::string_view>& ignored_by(Family family) {
  switch (family) {
    case Family::gpt2:
      return kIgnoredByGpt2;
    case Family::llama:
      return kIgnoredByLlama;
    case Family::qwen2:
      break;
  }
  return kIgnoredByQwen2;
}

Json parse_json(std::string_view text, const std::string& where) {
  if (text.size() > kLongestText) throw ConfigError(where + ": too long for a backbone's config");
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  auto check = [&](int depth, Json::parse_event_t event, const Json& value) {
    if (depth > kDeepest) throw ConfigError(where + ": nested too deeply for a backbone's config");
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(value.get<std::string>()).second)
      throw ConfigError(fmt::format("{}: key \"{}\" stands twice", where, shown(value.get<std::string>())));
    return true;
  };
  Json json = Json::parse(text, check, /*allow_exceptions=*/false);
  if (json.is_discarded()) throw ConfigError(where + ": no valid JSON");
  return json;
}

/// Scalars as they are written, of anything else its kind.
std::string written(const Json& value) {
  return value.is_structured() ? value.type_name() : shown(value.dump());
}

/// Reads one JSON object key by key and knows in the end which keys nobody asked for.
class Reader {
 public:
  /// `prefix`: before the names of the keys, in an object within the config.
  Reader(const Json& json, const std::string& where, std::string prefix = "")
      : json_(json), where_(where), prefix_(std::move(prefix)) {}

  const Json* find(const char* key) {
    used_.insert(key);
    auto found = json_.find(key);
    return found == json_.end() || found->is_null() ? nullptr : &*found;
  }

  bool contains(const char* key) const { return json_.contains(key); }

  template <typename T>
  T get(const char* key, std::optional<T> fallback = {}) {
    const Json* found = find(key);
    if (!found) {
      if (fallback) return *fallback;
      fail("{} is missing", name(key));
    }
    bool fits = std::is_same_v<T, bool>          ? found->is_boolean()
                : std::is_same_v<T, std::string> ? found->is_string()
                                                 : found->is_number();
    if (!fits) fail("{} has the wrong type: {}", name(key), written(*found));
    return found->get<T>();
  }

  int64_t size(const char* key, std::optional<int64_t> fallback = {}, int64_t largest = kLargestSize) {
    const Json* found = find(key);
    if (!found && fallback) return *fallback;
    if (!found) fail("{} is missing", name(key));
    if (!found->is_number_integer()) fail("{} has the wrong type: {}", name(key), written(*found));
    bool unsigned_range = !found->is_number_unsigned() || found->get<uint64_t>() <= static_cast<uint64_t>(largest);
    if (unsigned_range && found->get<int64_t>() < 1) fail("{} must be above 0, not {}", name(key), written(*found));
    if (!unsigned_range) fail("{} is {}, more than {}, the most that is built", name(key), written(*found), largest);
    return found->get<int64_t>();
  }

  double positive(const char* key, std::optional<double> fallback = {}) {
    double value = get<double>(key, fallback);
    if (!(value > 0)) fail("{} must be above 0, not {}", name(key), value);
    return value;
  }

  void refuse(const char* key, bool unwanted, std::string_view why) {
    used_.insert(key);
    if (unwanted) fail("{}: {}", name(key), why);
  }

  void refuse_unless(const char* key, bool wanted, const char* why) {
    refuse(key, get<bool>(key, wanted) != wanted, why);
  }

  void refuse_unknown(std::initializer_list<const std::set<std::string_view>*> ignored = {}) const {
    for (const auto& [key, value] : json_.items())
      if (!used_.contains(key) &&
          std::none_of(ignored.begin(), ignored.end(), [&](const auto* keys) { return keys->contains(key); }))
        fail("unknown {}: it might change the mathematics; remove it if it does not", name(key));
  }

  template <typename... A>
  [[noreturn]] void fail(fmt::format_string<A...> text, A&&... arguments) const {
    throw ConfigError(where_ + ": " + fmt::format(text, std::forward<A>(arguments)...));
  }

 private:
  std::string name(std::string_view key) const { return "backbone key " + prefix_ + shown(key); }

  const Json& json_;
  const std::string& where_;
  std::string prefix_;
  std::set<std::string, std::less<>> used_;
};

Rope::Kind read_rope_kind(Reader& reader) {
  const std::string type = reader.get<std::string>("type", "default");
  const std::string kind = reader.get<std::string>("rope_type", type);
  // Versions of transformers differ in which one wins.
  reader.refuse("type", reader.contains("type") && kind != type, "differs from rope_type");
  if (kind == "default") return Rope::Kind::standard;
  if (kind == "linear") return Rope::Kind::linear;
  reader.refuse("rope_type", kind != "llama3",
                fmt::format("\"{}\" is not built; default, linear and llama3 are", shown(kind)));
  return Rope::Kind::llama3;
}

/// The mapping under `rope_scaling` or `rope_parameters`. Its base may stand beside it: `theta`.
Rope read_rope_mapping(Reader& reader, std::optional<double> theta) {
  Rope rope;
  rope.kind = read_rope_kind(reader);
  rope.theta = reader.positive("rope_theta", theta.value_or(rope.theta));
  reader.refuse("rope_theta", theta && rope.theta != *theta, "differs from rope_theta outside the mapping");
  if (rope.kind != Rope::Kind::standard) rope.factor = reader.positive("factor");
  if (rope.kind == Rope::Kind::llama3) {
    rope.low_frequency_factor = reader.positive("low_freq_factor");
    rope.high_frequency_factor = reader.positive("high_freq_factor");
    rope.original_positions = static_cast<double>(reader.size("original_max_position_embeddings"));
    reader.refuse("high_freq_factor", rope.high_frequency_factor <= rope.low_frequency_factor,
                  "must be above low_freq_factor");
  }
  reader.refuse("partial_rotary_factor", reader.get<double>("partial_rotary_factor", 1.0) != 1, "only 1 is built");
  reader.refuse_unknown();
  return rope;
}

/// `rope_scaling` and `rope_theta` before transformers 5, `rope_parameters` since.
Rope read_rope(Reader& reader, const std::string& where) {
  std::optional<double> theta;
  if (reader.find("rope_theta")) theta = reader.positive("rope_theta");
  std::optional<Rope> rope;
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const Json* mapping = reader.find(key);
    if (!mapping) continue;
    if (!mapping->is_object()) reader.fail("backbone key {} must be a mapping", key);
    Reader nested(*mapping, where, fmt::format("{}.", key));
    const Rope read = read_rope_mapping(nested, theta);
    if (rope && *rope != read) reader.fail("backbone keys rope_scaling and rope_parameters differ");
    rope = read;
  }
  reader.refuse("partial_rotary_factor", reader.get<double>("partial_rotary_factor", 1.0) != 1, "only 1 is built");
  return rope.value_or(Rope{.theta = theta.value_or(Rope().theta)});
}

void read_gpt2(Reader& reader, BackboneConfig& config) {
  config.hidden_size = reader.size("n_embd");
  config.intermediate_size = reader.size("n_inner", 4 * config.hidden_size);
  config.blocks = reader.size("n_layer", {}, kMostBlocks);
  config.heads = config.kv_heads = reader.size("n_head");
  config.positions = reader.size("n_positions", 1024);
  if (config.hidden_size % config.heads != 0)
    reader.fail("n_embd {} is no multiple of n_head {}", config.hidden_size, config.heads);
  config.head_width = config.hidden_size / config.heads;
  config.norm_eps = reader.positive("layer_norm_epsilon", 1e-5);
  config.tied = reader.get<bool>("tie_word_embeddings", true);
  config.qkv_bias = true;
  reader.refuse("activation_function", reader.get<std::string>("activation_function", "gelu_new") != "gelu_new",
                "only gelu_new is built");
  reader.refuse_unless("scale_attn_weights", true, "attention without scaling is not built");
  reader.refuse_unless("scale_attn_by_inverse_layer_idx", false, "scaling by the layer's number is not built");
}

void read_heads(Reader& reader, BackboneConfig& config) {
  config.heads = reader.size("num_attention_heads");
  // Qwen2Config has 32 where the key is absent, which no model with fewer heads can mean.
  const bool at_most_32 = config.family == Family::qwen2 && !reader.contains("num_key_value_heads");
  config.kv_heads = reader.size("num_key_value_heads", at_most_32 ? std::min<int64_t>(config.heads, 32) : config.heads);
  if (config.heads % config.kv_heads != 0)
    reader.fail("num_attention_heads {} is no multiple of num_key_value_heads {}", config.heads, config.kv_heads);
  if (!reader.find("head_dim") && config.hidden_size % config.heads != 0)
    reader.fail("hidden_size {} is no multiple of num_attention_heads {}", config.hidden_size, config.heads);
  config.head_width = reader.size("head_dim", config.hidden_size / config.heads);
  if (config.head_width % 2 != 0) reader.fail("head_dim {} must be even for rotary positions", config.head_width);
}

/// llama and qwen2.
void read_rotary(Reader& reader, BackboneConfig& config, const std::string& where) {
  config.hidden_size = reader.size("hidden_size");
  config.intermediate_size = reader.size("intermediate_size");
  config.blocks = reader.size("num_hidden_layers", {}, kMostBlocks);
  read_heads(reader, config);
  config.positions = reader.size("max_position_embeddings", 0);
  config.norm_eps = reader.positive("rms_norm_eps", 1e-6);
  config.rope = read_rope(reader, where);
  config.tied = reader.get<bool>("tie_word_embeddings", false);
  config.qkv_bias = config.family == Family::qwen2;
  const std::string activation = reader.get<std::string>("hidden_act", "silu");
  reader.refuse("hidden_act", activation != "silu" && activation != "swish", "only silu is built");
  reader.refuse_unless("attention_bias", config.qkv_bias,
                       "built is a bias of q, k and v for qwen2, none for llama, and none of the output");
  reader.refuse_unless("mlp_bias", false, "a bias in the feed-forward part is not built");
  reader.refuse_unless("use_sliding_window", false, "sliding windows are not built");
  reader.refuse_unless("rope_interleaved", false, "interleaved rotary pairs are not built");
  reader.refuse_unless("use_mrope", false, "rotary positions in several dimensions are not built");
  if (const Json* types = reader.find("layer_types")) {
    const bool full = types->is_array() && types->size() == static_cast<size_t>(config.blocks) &&
                      std::all_of(types->begin(), types->end(), [](const Json& t) { return t == "full_attention"; });
    reader.refuse("layer_types", !full, "only a full_attention for each layer is built");
  }
}

void refuse_absurd(const Reader& reader, const BackboneConfig& c) {
  const auto d = static_cast<double>(c.hidden_size);
  const double attention = d * static_cast<double>(c.qkv_width() + c.heads * c.head_width);
  const double block = attention + 3 * d * static_cast<double>(c.intermediate_size);
  const double all = static_cast<double>(c.blocks) * block + 2 * d * static_cast<double>(c.vocabulary + c.positions);
  if (all > kMostParameters)
    reader.fail("this backbone would have {:.1e} parameters, above the most of {:.0e}", all, kMostParameters);
}

std::optional<Family> family_of(std::string_view model_type) {
  for (Family family : {Family::gpt2, Family::llama, Family::qwen2})
    if (to_string(family) == model_type) return family;
  return {};
}

Json rotary_json(const BackboneConfig& config) {
  const Rope& rope = config.rope;
  Json json = {{"hidden_size", config.hidden_size},
               {"intermediate_size", config.intermediate_size},
               {"num_hidden_layers", config.blocks},
               {"num_attention_heads", config.heads},
               {"num_key_value_heads", config.kv_heads},
               {"head_dim", config.head_width},
               {"hidden_act", "silu"},
               {"rms_norm_eps", config.norm_eps},
               {"rope_theta", rope.theta}};
  if (config.positions > 0) json["max_position_embeddings"] = config.positions;
  if (rope.kind == Rope::Kind::linear) json["rope_scaling"] = {{"rope_type", "linear"}, {"factor", rope.factor}};
  if (rope.kind == Rope::Kind::llama3)
    json["rope_scaling"] = {{"rope_type", "llama3"},
                            {"factor", rope.factor},
                            {"low_freq_factor", rope.low_frequency_factor},
                            {"high_freq_factor", rope.high_frequency_factor},
                            {"original_max_position_embeddings", static_cast<int64_t>(rope.original_positions)}};
  return json;
}

Json gpt2_json(const BackboneConfig& config) {
  return {{"n_embd", config.hidden_size},
          {"n_inner", config.intermediate_size},
          {"n_layer", config.blocks},
          {"n_head", config.heads},
          {"n_positions", config.positions},
          {"activation_function", "gelu_new"},
          {"layer_norm_epsilon", config.norm_eps}};
}

}  // namespace

BackboneConfig BackboneConfig::from_json(std::string_view text, const std::string& where) {
  const Json json = parse_json(text, where);
  if (!json.is_object()) throw ConfigError(where + ": the backbone's config is no JSON object");
  Reader reader(json, where);
  BackboneConfig config;
  const std::string model_type = reader.get<std::string>("model_type");
  if (auto family = family_of(model_type))
    config.family = *family;
  else
    reader.fail("model_type \"{}\" is not built; gpt2, llama and qwen2 are", shown(model_type));
  config.vocabulary = reader.size("vocab_size");
  config.initializer_range = reader.get<double>("initializer_range", 0.02);
  reader.refuse("initializer_range", !(config.initializer_range >= 0), "must not be below 0");
  if (config.gpt2())
    read_gpt2(reader, config);
  else
    read_rotary(reader, config, where);
  reader.refuse_unless("is_encoder_decoder", false, "encoders are not built");
  reader.refuse_unless("add_cross_attention", false, "cross attention is not built");
  reader.refuse("auto_map", reader.find("auto_map"), "a model with code of its own is not built");
  const Json* pruned = reader.find("pruned_heads");
  reader.refuse("pruned_heads", pruned && !pruned->empty(), "pruned heads are not built");
  reader.refuse("quantization_config", reader.find("quantization_config"), "quantised weights are not built");
  reader.refuse_unknown({&kIgnored, &ignored_by(config.family)});
  refuse_absurd(reader, config);
  return config;
}

std::string BackboneConfig::to_json() const {
  Json json = gpt2() ? gpt2_json(*this) : rotary_json(*this);
  json["model_type"] = to_string(family);
  json["vocab_size"] = vocabulary;
  json["initializer_range"] = initializer_range;
  json["tie_word_embeddings"] = tied;
  return json.dump();
}

std::string_view to_string(Family family) {
  switch (family) {
    case Family::gpt2:
      return "gpt2";
    case Family::llama:
      return "llama";
    case Family::qwen2:
      break;
  }
  return "qwen2";
}

}  // namespace lmnet
