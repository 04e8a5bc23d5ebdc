#include "trainer/hugging_face/end_tokens.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "model/errors.h"
#include "trainer/checkpoint/file_io.h"

namespace lmnet {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kGenerationConfig = "generation_config.json";

/// Empty where there is no such file.
Json read_object(const fs::path& file) {
  if (!fs::exists(file)) return Json::object();
  Json json = Json::parse(read_text(file), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) throw WeightsError(fmt::format("{}: no JSON object", file.string()));
  return json;
}

/// The ids under a key: one, a list of them, or null.
std::vector<int64_t> ids_of(const Json& json, const char* key, const fs::path& file) {
  const Json value = json.value(key, Json());
  if (value.is_null()) return {};
  std::vector<int64_t> ids;
  for (const Json& id : value.is_array() ? value : Json::array({value})) {
    if (!id.is_number_integer())
      throw WeightsError(fmt::format("{}: {} is neither a token's id nor a list of ids", file.string(), key));
    ids.push_back(id);
  }
  return ids;
}

}  // namespace

EndTokens end_tokens(const fs::path& folder, const Tokenizer* tokenizer, int64_t vocabulary) {
  EndTokens tokens;
  for (const char* name : {kGenerationConfig, "config.json"}) {
    const Json json = read_object(folder / name);
    if (tokens.ends.empty()) tokens.ends = ids_of(json, "eos_token_id", folder / name);
    const std::vector<int64_t> padding = ids_of(json, "pad_token_id", folder / name);
    if (!tokens.padding && !padding.empty()) tokens.padding = padding.front();
  }
  if (tokenizer == nullptr) return tokens;
  if (tokens.ends.empty() && tokenizer->end_of_text() < vocabulary) tokens.ends = {tokenizer->end_of_text()};
  if (!tokens.padding && tokenizer->padding() < vocabulary) tokens.padding = tokenizer->padding();
  return tokens;
}

EndTokens end_tokens(const CheckpointReader& checkpoint, const DataConfig& data, const Tokenizer& tokenizer,
                     int64_t vocabulary) {
  const bool own = has_tokenizer(checkpoint.folder()) || data.tokenizer != "auto" || checkpoint.manifest().update > 0;
  return end_tokens(checkpoint.folder(), own ? &tokenizer : nullptr, vocabulary);
}

void put_tokens(Json& json, const EndTokens& tokens) {
  if (tokens.ends.size() == 1) json["eos_token_id"] = tokens.ends.front();
  if (tokens.ends.size() > 1) json["eos_token_id"] = tokens.ends;
  if (tokens.padding) json["pad_token_id"] = *tokens.padding;
}

std::string generation_config(const fs::path& folder, const EndTokens& tokens) {
  Json json = read_object(folder / kGenerationConfig);
  put_tokens(json, tokens);
  return json.dump(2) + "\n";
}

}  // namespace lmnet
