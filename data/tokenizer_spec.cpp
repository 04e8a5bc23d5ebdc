#include "data/tokenizer_spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "data/errors.h"
#include "data/utf8.h"

namespace lmnet {
namespace {

constexpr size_t kAlphabetEnd = 0x144;

/// The character that stands for each byte: the printable ones for themselves, the others from U+0100 on.
std::array<char32_t, 256> byte_characters() {
  std::array<char32_t, 256> characters{};
  char32_t next = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
    characters[byte] = printable ? byte : next++;
  }
  return characters;
}

/// The bytes that a token of vocab.json stands for. One with characters outside the alphabet stands for itself.
class Alphabet {
 public:
  explicit Alphabet(const std::array<char32_t, 256>& characters) {
    for (size_t byte = 0; byte < 256; ++byte) bytes_[characters[byte]] = static_cast<int>(byte);
  }
  std::string bytes_of(std::string_view token) const {
    std::string bytes;
    for (std::string_view rest = token; !rest.empty(); rest.remove_prefix(utf8_step(rest).length)) {
      const char32_t point = code_point(rest);
      if (point >= kAlphabetEnd || bytes_[point] < 0) return std::string(token);
      bytes += static_cast<char>(bytes_[point]);
    }
    return bytes;
  }

 private:
  std::array<int, kAlphabetEnd> bytes_ = [] {
    std::array<int, kAlphabetEnd> none;
    none.fill(-1);
    return none;
  }();
};

std::string as_utf8(char32_t point) {  // below U+0800
  if (point < 0x80) return {static_cast<char>(point)};
  return {static_cast<char>(0xc0 | point >> 6), static_cast<char>(0x80 | (point & 0x3f))};
}

}  // namespace

int32_t checked_id(int64_t id, size_t entries) {
  constexpr int64_t gaps = 1 << 16;
  if (id < 0 || id >= static_cast<int64_t>(entries) + gaps)
    throw DataError(fmt::format("the id {} does not fit a vocabulary of {} tokens", id, entries));
  return static_cast<int32_t>(id);
}

void VocabularyBuilder::add(std::string_view token, int64_t id) {
  // Looked at again in finish(), where the number of tokens is known.
  if (id < 0 || id > INT32_MAX) throw DataError(fmt::format("the token \"{}\" has the id {}", token, id));
  if (!ids_.emplace(token, static_cast<int32_t>(id)).second)
    throw DataError(fmt::format("the token \"{}\" is there twice", token));
}

std::optional<int32_t> VocabularyBuilder::find(std::string_view token) const {
  const auto found = ids_.find(std::string(token));
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

void VocabularyBuilder::add_merge(std::string_view left, std::string_view right) {
  const auto id = [&](const std::string& token) {
    if (const auto found = find(token)) return *found;
    throw DataError(fmt::format("merge {} (\"{} {}\"): \"{}\" is no token", merges_.size(), left, right, token));
  };
  const int32_t left_id = id(std::string(left)), right_id = id(std::string(right));
  merges_.push_back({left_id, right_id, id(fmt::format("{}{}", left, right)), static_cast<int32_t>(merges_.size())});
}

Vocabulary VocabularyBuilder::finish() {
  Vocabulary vocabulary;
  const auto characters = byte_characters();
  for (size_t byte = 0; byte < 256; ++byte) {
    const auto id = find(as_utf8(characters[byte]));
    if (!id) throw DataError(fmt::format("the byte 0x{:02x} has no token, so that not every text has tokens", byte));
    vocabulary.bytes[byte] = *id;
  }
  const Alphabet alphabet(characters);
  for (const auto& [token, id] : ids_) {
    const auto place = static_cast<size_t>(checked_id(id, ids_.size()));
    if (token.empty()) throw DataError(fmt::format("the token of id {} is empty", id));
    if (place >= vocabulary.tokens.size()) vocabulary.tokens.resize(place + 1);
    if (!vocabulary.tokens[place].empty()) throw DataError(fmt::format("two tokens have the id {}", id));
    vocabulary.tokens[place] = alphabet.bytes_of(token);
  }
  vocabulary.merges = std::move(merges_);
  return vocabulary;
}

void add_tokens(const JsonValue& tokens, const std::filesystem::path& file, VocabularyBuilder& vocabulary) {
  for (const auto& [token, value] : tokens.object()) {
    int64_t id = -1;
    if (value.get(id) != simdjson::SUCCESS) tokens.fail(fmt::format("gives \"{}\" no id", token));
    naming(file, [&, token = token] { vocabulary.add(token, id); });
  }
}

std::optional<std::pair<std::string_view, std::string_view>> token_pair(std::string_view text) {
  const size_t blank = text.find(' ');
  if (blank == std::string_view::npos || text.find(' ', blank + 1) != std::string_view::npos) return std::nullopt;
  return std::pair(text.substr(0, blank), text.substr(blank + 1));
}

}  // namespace lmnet
