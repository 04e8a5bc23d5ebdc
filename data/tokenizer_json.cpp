#include "data/tokenizer_json.h"

#include <fmt/format.h>

#include <cctype>
#include <functional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace lmnet {
namespace {

/// One that a Sequence is made of, or a part on its own.
void for_each_part(const JsonValue& value, std::string_view list, const std::function<void(const JsonValue&)>& take) {
  if (value.at("type").text() != "Sequence") return take(value);
  const JsonValue parts = value.at(list);
  size_t i = 0;
  for (const auto part : parts.array())
    for_each_part(JsonValue(part, fmt::format("{}[{}]", parts.where(), i++)), list, take);
}

[[noreturn]] void refuse(const JsonValue& part, std::string_view supported) {
  part.fail(fmt::format("is of the type {}, which is not supported; supported: {}", part.at("type").text(), supported));
}

void read_normalizer(const JsonValue& root, TokenizerSpec& spec) {
  const auto normalizer = root.find("normalizer");
  if (!normalizer) return;
  for_each_part(*normalizer, "normalizers", [&](const JsonValue& part) {
    if (part.at("type").text() != "NFC") refuse(part, "NFC or none");
    spec.nfc = true;
  });
}

/// Patterns are regular expressions or literal text.
std::string regex_of(const JsonValue& pattern) {
  if (const auto regex = pattern.find("Regex")) return std::string(regex->text());
  std::string regex;
  for (const char c : pattern.at("String").text()) {
    if (c > 0 && std::ispunct(c)) regex += '\\';
    regex += c;
  }
  return regex;
}

class PreTokenizer {
 public:
  explicit PreTokenizer(std::vector<SplitPattern>& patterns) : patterns_(patterns) {}

  void read(const JsonValue& part) {
    const std::string_view type = part.at("type").text();
    if (byte_level_) part.fail("stands after ByteLevel, which is not supported");
    if (type == "Split") {
      split(part);
    } else if (type == "Digits") {
      add(part, part.flag("individual_digits", false) ? R"(\p{N})" : R"(\p{N}+)");
    } else if (type == "ByteLevel") {
      if (part.flag("add_prefix_space", true))
        part.fail("has `add_prefix_space` true, which is not supported: a blank would stand before each text");
      if (part.flag("use_regex", true)) add(part, kGpt2Pattern);
      byte_level_ = true;
    } else {
      refuse(part, "ByteLevel, Split, Digits and sequences of them");
    }
  }
  bool byte_level() const { return byte_level_; }

 private:
  static constexpr size_t kMost = 32;  // patterns

  void split(const JsonValue& part) {
    const std::string_view behavior = part.at("behavior").text();
    if (behavior != "Isolated" || part.flag("invert", false))
      part.fail(fmt::format("has the behavior {}{}, which is not supported; supported: Isolated", behavior,
                            part.flag("invert", false) ? ", inverted" : ""));
    add(part, regex_of(part.at("pattern")));
  }

  void add(const JsonValue& part, std::string_view regex) {
    if (patterns_.size() == kMost) part.fail(fmt::format("is one split more than the {} supported", kMost));
    try {
      patterns_.emplace_back(regex);
    } catch (const DataError& error) {
      part.fail(fmt::format("cannot be used: {}", error.what()));
    }
  }

  std::vector<SplitPattern>& patterns_;
  bool byte_level_ = false;
};

void read_pre_tokenizer(const JsonValue& root, TokenizerSpec& spec) {
  PreTokenizer reader(spec.patterns);
  const JsonValue value = root.at("pre_tokenizer");
  for_each_part(value, "pretokenizers", [&](const JsonValue& part) { reader.read(part); });
  if (!reader.byte_level()) value.fail("has no ByteLevel: only byte-level tokenizers are supported");
}

void check_decoder(const JsonValue& root) {
  const auto decoder = root.find("decoder");
  if (!decoder) return;
  for_each_part(*decoder, "decoders", [&](const JsonValue& part) {
    if (part.at("type").text() != "ByteLevel") refuse(part, "ByteLevel");
  });
}

/// The options of BPE that change tokens and that byte-level vocabularies do not use.
void check_model(const JsonValue& model) {
  const std::string_view type = model.text("type", "BPE");
  if (type != "BPE") model.fail(fmt::format("is of the type {}, which is not supported; supported: BPE", type));
  if (model.flag("byte_fallback", false)) model.fail("has `byte_fallback`, which is not supported");
  for (const std::string_view key : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (!model.text(key, "").empty()) model.fail(fmt::format("has a `{}`, which is not supported", key));
  const auto dropout = model.find("dropout");
  if (dropout && dropout->number() != 0) model.fail("has a `dropout`, which is not supported");
}

/// "a b" or ["a", "b"].
void read_merge(const JsonValue& list, simdjson::dom::element merge, VocabularyBuilder& vocabulary) {
  std::string_view text, left, right;
  simdjson::dom::array pair;
  if (merge.get(text) == simdjson::SUCCESS) {
    const auto parts = token_pair(text);
    if (!parts) list.fail(fmt::format("has \"{}\", which is no pair", text));
    std::tie(left, right) = *parts;
  } else if (merge.get(pair) != simdjson::SUCCESS || pair.size() != 2 || pair.at(0).get(left) != simdjson::SUCCESS ||
             pair.at(1).get(right) != simdjson::SUCCESS) {
    list.fail("has something that is no pair of tokens");
  }
  vocabulary.add_merge(left, right);
}

Vocabulary read_vocabulary(const JsonValue& model, const std::filesystem::path& file) {
  VocabularyBuilder vocabulary;
  const JsonValue merges = model.at("merges");
  add_tokens(model.at("vocab"), file, vocabulary);
  for (const auto merge : merges.array()) {
    naming(file, [&] { read_merge(merges, merge, vocabulary); });
  }
  return naming(file, [&] { return vocabulary.finish(); });
}

}  // namespace

AddedToken read_added_token(const JsonValue& entry, int64_t id) {
  for (const std::string_view key : {"lstrip", "rstrip", "single_word"})
    if (entry.flag(key, false)) entry.fail(fmt::format("has `{}`, which is not supported", key));
  AddedToken token;
  token.content = entry.at("content").text();
  token.special = entry.flag("special", false);
  token.normalized = entry.flag("normalized", !token.special);
  if (token.content.empty()) entry.fail("has no content");
  if (id < 0 || id > INT32_MAX) entry.fail(fmt::format("has no id but {}", id));
  token.id = static_cast<int32_t>(id);
  return token;
}

TokenizerSpec read_tokenizer_json(const std::filesystem::path& file) {
  const JsonFile json(file);
  const JsonValue& root = json.root();
  TokenizerSpec spec;
  const JsonValue model = root.at("model");
  check_model(model);
  read_normalizer(root, spec);
  read_pre_tokenizer(root, spec);
  check_decoder(root);
  spec.whole_words = model.flag("ignore_merges", false);
  spec.vocabulary = read_vocabulary(model, file);
  if (const auto added = root.find("added_tokens")) {
    size_t i = 0;
    for (const auto value : added->array()) {
      const JsonValue entry(value, fmt::format("{}[{}]", added->where(), i++));
      spec.added.push_back(read_added_token(entry, entry.at("id").integer()));
    }
  }
  return spec;
}

}  // namespace lmnet
