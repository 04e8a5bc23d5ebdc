#include "data/vocabulary_files.h"

#include <fmt/format.h>

#include <charconv>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "data/json_file.h"

namespace lmnet {
namespace {

constexpr size_t kLlama3Tokens = 128000;
constexpr int kLlama3Reserved = 248;

/// Calls `take(line, number)` for the lines of a text, numbered from 1, without their ends.
void for_each_line(std::string_view text, const std::function<void(std::string_view, size_t)>& take) {
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    take(line, number);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
}

/// The bytes of base64 with padding; nothing where it is not that.
std::string from_base64(std::string_view text) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  uint32_t bits = 0;
  int count = 0;
  if (text.size() % 4 != 0) return "";
  while (text.ends_with('=')) text.remove_suffix(1);
  for (const char c : text) {
    const size_t digit = digits.find(c);
    if (digit == std::string_view::npos) return "";
    bits = bits << 6 | static_cast<uint32_t>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes += static_cast<char>(bits >> count & 0xff);
  }
  return bytes;
}

std::vector<AddedToken> llama3_special_tokens() {
  std::vector<std::string> names = {"<|begin_of_text|>",
                                    "<|end_of_text|>",
                                    "<|reserved_special_token_0|>",
                                    "<|reserved_special_token_1|>",
                                    "<|finetune_right_pad_id|>",
                                    "<|reserved_special_token_2|>",
                                    "<|start_header_id|>",
                                    "<|end_header_id|>",
                                    "<|eom_id|>",
                                    "<|eot_id|>",
                                    "<|python_tag|>"};
  for (int i = 3; i < kLlama3Reserved; ++i) names.push_back(fmt::format("<|reserved_special_token_{}|>", i));
  std::vector<AddedToken> tokens;
  for (size_t i = 0; i < names.size(); ++i)
    tokens.push_back({static_cast<int32_t>(kLlama3Tokens + i), std::move(names[i])});
  return tokens;
}

/// The tokens by rank, from lines of base64, a blank and the rank.
std::vector<std::string> read_ranks(std::string_view text) {
  std::vector<std::string> tokens;
  for_each_line(text, [&](std::string_view line, size_t number) {
    if (number > kLlama3Tokens)
      throw DataError(fmt::format("has more than Llama 3's {} tokens; use a tokenizer.json", kLlama3Tokens));
    const size_t blank = line.find(' ');
    std::string token = from_base64(line.substr(0, blank));
    size_t rank = 0;
    const char* const end = line.data() + line.size();
    const char* const digits = blank == std::string_view::npos ? end : line.data() + blank + 1;
    const auto [last, error] = std::from_chars(digits, end, rank);
    if (token.empty() || error != std::errc() || last != end || rank != tokens.size())
      throw DataError(
          fmt::format("line {} is not a token in base64 and the rank {}: no tokenizer of Llama 3 (SentencePiece models "
                      "are not supported); use a tokenizer.json",
                      number, number - 1));
    tokens.push_back(std::move(token));
  });
  if (tokens.size() != kLlama3Tokens)
    throw DataError(fmt::format("has {} tokens, Llama 3 has {}; use a tokenizer.json", tokens.size(), kLlama3Tokens));
  return tokens;
}

Vocabulary vocabulary_of_ranks(std::vector<std::string> tokens) {
  Vocabulary vocabulary;
  std::unordered_map<std::string_view, int32_t> ids;
  for (size_t id = 0; id < tokens.size(); ++id)
    if (!ids.emplace(tokens[id], static_cast<int32_t>(id)).second)
      throw DataError(fmt::format("line {} repeats a token", id + 1));
  for (size_t byte = 0; byte < 256; ++byte) {
    const char text = static_cast<char>(byte);
    const auto found = ids.find({&text, 1});
    if (found == ids.end()) throw DataError(fmt::format("the byte 0x{:02x} has no token", byte));
    vocabulary.bytes[byte] = found->second;
  }
  for (const std::string_view token : tokens) {
    const int32_t result = ids.at(token);
    for (size_t cut = 1; cut < token.size(); ++cut) {
      const auto left = ids.find(token.substr(0, cut)), right = ids.find(token.substr(cut));
      if (left != ids.end() && right != ids.end())
        vocabulary.merges.push_back({left->second, right->second, result, result});
    }
  }
  vocabulary.tokens = std::move(tokens);
  return vocabulary;
}

}  // namespace

Vocabulary read_vocab_and_merges(const std::filesystem::path& vocab, const std::filesystem::path& merges) {
  VocabularyBuilder builder;
  add_tokens(JsonFile(vocab).root(), vocab, builder);
  const std::string text = whole_file(merges);
  for_each_line(text, [&](std::string_view line, size_t number) {
    if (line.empty() || (number == 1 && line.starts_with("#version"))) return;
    const std::string where = fmt::format("{}:{}", merges.string(), number);
    const auto pair = token_pair(line);
    if (!pair) throw DataError(fmt::format("{}: `{}` is no pair of tokens", where, line));
    naming(where, [&] { builder.add_merge(pair->first, pair->second); });
  });
  return naming(vocab, [&] { return builder.finish(); });
}

TokenizerSpec read_tiktoken(const std::filesystem::path& file) {
  return naming(file, [&] {
    const std::string text = whole_file(file);
    TokenizerSpec spec;
    spec.vocabulary = vocabulary_of_ranks(read_ranks(text));
    spec.added = llama3_special_tokens();
    spec.patterns.emplace_back(kLlama3Pattern);
    spec.whole_words = true;
    return spec;
  });
}

}  // namespace lmnet
