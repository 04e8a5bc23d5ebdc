#pragma once
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/tokenizer.h"
#include "tests/data/support.h"

namespace lmnet::test {

inline std::vector<int32_t> encode(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<int32_t> ids;
  tokenizer.encode(text, ids);
  return ids;
}

/// How vocab.json writes bytes: one character for each.
inline std::string shown(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    const int byte = static_cast<unsigned char>(c);
    int point = byte;
    if (byte <= 0x20) point = 0x100 + byte;
    if (byte >= 0x7f && byte <= 0xa0) point = 0x100 + 33 + byte - 0x7f;
    if (byte == 0xad) point = 0x143;
    if (point < 0x80) {
      text += static_cast<char>(point);
    } else {
      text += {static_cast<char>(0xc0 | point >> 6), static_cast<char>(0x80 | (point & 0x3f))};
    }
  }
  return text;
}

using Merges = std::vector<std::pair<std::string, std::string>>;

/// A tokenizer.json whose ids 0-255 are the bytes, followed by what `merges` (in bytes) give and `<|endoftext|>`, with
/// `pattern` to split by.
inline nlohmann::json small_tokenizer(const Merges& merges, std::string_view pattern = R"(\S+|\s+)") {
  nlohmann::json vocab, list = nlohmann::json::array();
  for (int byte = 0; byte < 256; ++byte) vocab[shown(std::string(1, static_cast<char>(byte)))] = byte;
  for (const auto& [left, right] : merges) {
    vocab.emplace(shown(left + right), vocab.size());
    list.push_back(shown(left) + " " + shown(right));
  }
  const nlohmann::json split = {
      {"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
  const nlohmann::json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  const nlohmann::json end = {{"id", vocab.size()}, {"content", "<|endoftext|>"}, {"special", true}};
  return {{"added_tokens", {end}},
          {"normalizer", nullptr},
          {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {split, bytes}}}},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", list}}}};
}

inline std::unique_ptr<Tokenizer> make_tokenizer(const nlohmann::json& json) {
  const TempFolder folder;
  return lmnet::make_tokenizer(folder.write("tokenizer.json", json.dump()));
}

/// The folders of samples with a tokenizer.
inline std::vector<std::filesystem::path> tokenizer_samples() {
  std::vector<std::filesystem::path> folders;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(sample("tokenizers"), none))
    if (has_tokenizer(entry.path())) folders.push_back(entry.path());
  std::sort(folders.begin(), folders.end());
  return folders;
}

/// Up to `most` characters of many scripts, with marks, blanks and special tokens; where `broken`, other bytes between.
inline std::string random_text(std::mt19937_64& random, size_t most, bool broken) {
  static constexpr std::string_view pieces[] = {"a",
                                                "the",
                                                " ",
                                                "  ",
                                                "\n",
                                                "\r\n",
                                                "\t",
                                                "'s",
                                                "'LL",
                                                "1",
                                                "23",
                                                ".",
                                                "!?",
                                                "\xc3\xa9",
                                                "e\xcc\x81",
                                                "\xe4\xb8\xad",
                                                "\xea\xb0\x80\xe1\x86\xa8",
                                                "\xf0\x9f\x9a\x80",
                                                "\xe2\x84\xab",
                                                "\xe3\x80\x80",
                                                "\xcc\xa3",
                                                "<|endoftext|>",
                                                "<|im_start|>",
                                                "<|"};
  static constexpr std::string_view damage[] = {"\xff",     "\xc3",     "\xe4\xb8",         "\xed\xa0\x80",
                                                "\xc0\xaf", "\xf0\x9f", "\xf4\x90\x80\x80", "\x80"};
  const auto below = [&](size_t count) { return static_cast<size_t>(random() % count); };
  std::string text;
  for (size_t left = below(most + 1); left > 0; --left) {
    const size_t kind = below(broken ? 10 : 8);
    if (kind < 5) {
      text += pieces[below(std::size(pieces))];
    } else if (kind < 8) {
      char32_t point = 0x80 + static_cast<char32_t>(below(kind == 5 ? 0x780 : kind == 6 ? 0xff80 : 0x1ff80));
      if (point >= 0xd800 && point < 0xe000) point = 0x300;
      const auto tail = [&](int shift) { return static_cast<char>(0x80 | (point >> shift & 0x3f)); };
      if (point < 0x800) {
        text += {static_cast<char>(0xc0 | point >> 6), tail(0)};
      } else if (point < 0x10000) {
        text += {static_cast<char>(0xe0 | point >> 12), tail(6), tail(0)};
      } else {
        text += {static_cast<char>(0xf0 | point >> 18), tail(12), tail(6), tail(0)};
      }
    } else {
      text += damage[below(std::size(damage))];
    }
  }
  return text;
}

}  // namespace lmnet::test
