#include "data/tokenizer_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <map>
#include <optional>
#include <system_error>

#include "data/errors.h"
#include "data/json_file.h"
#include "data/shuffle.h"
#include "data/tokenizer_json.h"
#include "data/vocabulary_files.h"

namespace lmnet {
namespace {

namespace fs = std::filesystem;

/// The id of the added token or else of the token of the vocabulary that is `content`.
std::optional<int32_t> find_token(const TokenizerSpec& spec, std::string_view content) {
  for (const AddedToken& token : spec.added)
    if (token.content == content) return token.id;
  const auto& tokens = spec.vocabulary.tokens;
  const auto found = content.empty() ? tokens.end() : std::find(tokens.begin(), tokens.end(), content);
  if (found == tokens.end()) return std::nullopt;
  return static_cast<int32_t>(found - tokens.begin());
}

/// What tokenizer_config.json names under `key`, if it has that: text, or an added token written out.
std::optional<int32_t> configured_token(const std::optional<JsonFile>& config, std::string_view key,
                                        const TokenizerSpec& spec) {
  const auto field = config ? config->root().find(key) : std::nullopt;
  if (!field) return std::nullopt;
  const std::string_view content = field->is_text() ? field->text() : field->at("content").text();
  if (const auto id = find_token(spec, content)) return id;
  field->fail(fmt::format("is \"{}\", which is no token of this tokenizer; name one of its tokens, or none", content));
}

std::optional<int32_t> first_token(const TokenizerSpec& spec, std::initializer_list<std::string_view> contents) {
  for (const std::string_view content : contents)
    if (const auto id = find_token(spec, content)) return id;
  return std::nullopt;
}

/// The added tokens of tokenizer_config.json that the other files do not have.
void add_configured_tokens(const JsonValue& config, TokenizerSpec& spec) {
  const auto tokens = config.find("added_tokens_decoder");
  if (!tokens) return;
  for (const auto& [key, value] : tokens->object()) {
    const JsonValue entry(value, fmt::format("{}.{}", tokens->where(), key));
    int64_t id = -1;
    const char* const end = key.data() + key.size();
    const auto [last, error] = std::from_chars(key.data(), end, id);
    if (error != std::errc() || last != end) entry.fail("stands under a key that is no id");
    const AddedToken token = read_added_token(entry, id);
    const auto known = find_token(spec, token.content);
    if (known && *known != token.id)
      entry.fail(fmt::format("is \"{}\", which has the id {} elsewhere", token.content, *known));
    const auto same = [&](const AddedToken& other) { return other.id == token.id; };
    if (std::none_of(spec.added.begin(), spec.added.end(), same)) spec.added.push_back(token);
  }
}

enum class Family { gpt2, qwen2 };

/// Whose vocab.json and merges.txt these are: they do not say how text is split.
Family family_of(const std::optional<JsonFile>& config, const fs::path& vocab, size_t tokens) {
  const std::string_view name = config ? config->root().text("tokenizer_class", "") : "";
  if (name.starts_with("GPT2Tokenizer")) return Family::gpt2;
  if (name.starts_with("Qwen2Tokenizer")) return Family::qwen2;
  if (name.empty() && tokens == 50257) return Family::gpt2;
  if (name.empty() && tokens == 151643) return Family::qwen2;
  throw DataError(
      fmt::format("{}: how to split text is not known for {}: vocab.json with merges.txt is read for GPT2Tokenizer and "
                  "Qwen2Tokenizer (`tokenizer_class` of tokenizer_config.json); use a tokenizer.json",
                  vocab.string(), name.empty() ? fmt::format("{} tokens", tokens) : std::string(name)));
}

TokenizerSpec read_family(const TokenizerFiles& files, const std::optional<JsonFile>& config) {
  TokenizerSpec spec;
  spec.vocabulary = read_vocab_and_merges(files.vocab, files.merges);
  auto& tokens = spec.vocabulary.tokens;
  const Family family = family_of(config, files.vocab, tokens.size());
  spec.nfc = family == Family::qwen2;
  spec.patterns.emplace_back(family == Family::gpt2 ? kGpt2Pattern : kQwen2Pattern);
  if (config) add_configured_tokens(config->root(), spec);
  constexpr std::string_view end = "<|endoftext|>";
  const auto is_end = [&](const AddedToken& token) { return token.content == end; };
  // Both families have it even where the files do not list it: in the vocabulary or right after.
  if (std::none_of(spec.added.begin(), spec.added.end(), is_end))
    spec.added.push_back({find_token(spec, end).value_or(static_cast<int32_t>(tokens.size())), std::string(end)});
  return spec;
}

void set_ends(const std::optional<JsonFile>& config, const fs::path& file, TokenizerSpec& spec) {
  auto end = configured_token(config, "eos_token", spec);
  if (!end) end = first_token(spec, {"<|endoftext|>", "<|end_of_text|>", "</s>", "<|im_end|>", "<|eot_id|>"});
  if (!end)
    throw DataError(fmt::format(
        "{}: no token ends a text; name one as `eos_token` in a tokenizer_config.json beside it", file.string()));
  auto padding = configured_token(config, "pad_token", spec);
  if (!padding) padding = first_token(spec, {"<|finetune_right_pad_id|>", "<pad>"});
  spec.end_of_text = *end;
  spec.padding = padding.value_or(*end);
}

/// No two added tokens may have one id, and none that of another token.
void check_added(const TokenizerSpec& spec) {
  const auto& tokens = spec.vocabulary.tokens;
  std::map<int32_t, std::string_view> added;
  for (const AddedToken& token : spec.added) {
    const auto place = static_cast<size_t>(checked_id(token.id, tokens.size() + spec.added.size()));
    const bool in_vocabulary = place < tokens.size() && !tokens[place].empty();
    if ((in_vocabulary && tokens[place] != token.content) || !added.emplace(token.id, token.content).second)
      throw DataError(fmt::format("the added token \"{}\" has the id {} of another token", token.content, token.id));
  }
}

}  // namespace

std::vector<fs::path> TokenizerFiles::all() const {
  std::vector<fs::path> files;
  for (const fs::path& file : {tokenizer_json, vocab, merges, tiktoken, config})
    if (!file.empty()) files.push_back(file);
  return files;
}

fs::file_type kind_of(const fs::path& place) {
  std::error_code error;
  const fs::file_type kind = fs::status(place, error).type();
  if (error && kind != fs::file_type::not_found)
    throw DataError(fmt::format("{}: cannot be read: {}", place.string(), error.message()));
  return kind;
}

TokenizerFiles find_tokenizer_files(const fs::path& place) {
  const bool is_folder = kind_of(place) == fs::file_type::directory;
  const fs::path folder = is_folder ? place : place.parent_path();
  const auto has = [&](const char* name) {
    return is_folder ? kind_of(folder / name) == fs::file_type::regular : place.filename() == name;
  };
  TokenizerFiles files;
  if (has("tokenizer.json")) {
    files.tokenizer_json = folder / "tokenizer.json";
  } else if (has("vocab.json") && has("merges.txt")) {
    files.vocab = folder / "vocab.json";
    files.merges = folder / "merges.txt";
  } else if (has("tokenizer.model")) {
    files.tiktoken = folder / "tokenizer.model";
  } else {
    return files;
  }
  const fs::path config = folder / "tokenizer_config.json";
  if (kind_of(config) == fs::file_type::regular) files.config = config;
  return files;
}

TokenizerSpec read_tokenizer(const TokenizerFiles& files) {
  const fs::path file = files.all().front();
  std::optional<JsonFile> config;
  if (!files.config.empty()) config.emplace(files.config);
  if (config && config->root().flag("add_prefix_space", false))
    config->root().at("add_prefix_space").fail("true is not supported: a blank would stand before each text");
  TokenizerSpec spec;
  if (!files.vocab.empty()) {
    spec = read_family(files, config);
  } else {
    spec = files.tiktoken.empty() ? read_tokenizer_json(file) : read_tiktoken(file);
    if (config) add_configured_tokens(config->root(), spec);
  }
  naming(file, [&] { check_added(spec); });
  set_ends(config, file, spec);
  return spec;
}

std::string hash_files(const std::vector<fs::path>& files) {
  uint64_t hash = 0;
  for (const fs::path& file : files)
    hash = hash_of({hash, hash_of(file.filename().string()), hash_of(whole_file(file))});
  return fmt::format("{:016x}", hash);
}

}  // namespace lmnet
