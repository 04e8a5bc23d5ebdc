// What the files of a tokenizer may hold, and what is refused by name.
#include <gmock/gmock.h>

#include <functional>

#include "tests/data/tokenizer_support.h"

namespace lmnet {
namespace {

using nlohmann::json;
using test::encode;
using test::small_tokenizer;
using testing::ElementsAre;
using testing::HasSubstr;

const test::Merges kMerges = {{"t", "h"}, {"th", "e"}, {"#", "#"}};
constexpr const char* kText = "the ## thx";

std::string refusal(const json& tokenizer) {
  return test::data_error([&] { test::make_tokenizer(tokenizer); });
}

TEST(TokenizerJson, is_read_in_old_and_new_forms_alike) {
  const json now = small_tokenizer(kMerges);
  const auto expected = encode(*test::make_tokenizer(now), kText);
  EXPECT_THAT(expected, ElementsAre(257, ' ', 258, ' ', 256, 'x'));
  json pairs = now, old = now;
  pairs["model"]["merges"] = json::array();
  for (const auto& [left, right] : kMerges) pairs["model"]["merges"].push_back(json::array({left, right}));
  old["model"].erase("type");
  EXPECT_EQ(encode(*test::make_tokenizer(pairs), kText), expected);
  EXPECT_EQ(encode(*test::make_tokenizer(old), kText), expected);
}

TEST(TokenizerJson, splits_with_the_pattern_of_gpt2_where_byte_level_does_it) {
  json tokenizer = small_tokenizer({{"a", "b"}, {" ", "a"}});
  tokenizer["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  EXPECT_THAT(encode(*test::make_tokenizer(tokenizer), "ab ab'sab"), ElementsAre(256, ' ', 256, '\'', 's', 256));
  tokenizer["pre_tokenizer"]["use_regex"] = false;
  EXPECT_THAT(encode(*test::make_tokenizer(tokenizer), "b a"), ElementsAre('b', 257));
}

TEST(TokenizerJson, splits_the_pieces_of_one_pattern_by_the_next) {
  json tokenizer = small_tokenizer({{"1", "2"}, {"a", "."}, {"x", "y"}});
  json& parts = tokenizer["pre_tokenizer"]["pretokenizers"];
  parts[0]["pattern"] = {{"String", "."}};
  parts.insert(parts.begin(), json::object({{"type", "Digits"}, {"individual_digits", true}}));
  EXPECT_THAT(encode(*test::make_tokenizer(tokenizer), "12a.xy"), ElementsAre('1', '2', 'a', '.', 258));
}

TEST(TokenizerJson, refuses_by_name_what_it_would_cut_in_another_way) {
  const std::vector<std::pair<const char*, std::function<void(json&)>>> cases = {
      {"Unigram", [](json& t) { t["model"]["type"] = "Unigram"; }},
      {"WordPiece", [](json& t) { t["model"]["type"] = "WordPiece"; }},
      {"byte_fallback", [](json& t) { t["model"]["byte_fallback"] = true; }},
      {"dropout", [](json& t) { t["model"]["dropout"] = 0.1; }},
      {"end_of_word_suffix", [](json& t) { t["model"]["end_of_word_suffix"] = "</w>"; }},
      {"Lowercase",
       [](json& t) {
         t["normalizer"] = {{"type", "Lowercase"}};
       }},
      {"NFKC",
       [](json& t) {
         t["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "NFKC"}}}}};
       }},
      {"Metaspace",
       [](json& t) {
         t["pre_tokenizer"] = {{"type", "Metaspace"}};
       }},
      {"no ByteLevel", [](json& t) { t["pre_tokenizer"]["pretokenizers"].erase(1); }},
      {"pre_tokenizer", [](json& t) { t["pre_tokenizer"] = nullptr; }},
      {"after ByteLevel",
       [](json& t) { std::swap(t["pre_tokenizer"]["pretokenizers"][0], t["pre_tokenizer"]["pretokenizers"][1]); }},
      {"Removed", [](json& t) { t["pre_tokenizer"]["pretokenizers"][0]["behavior"] = "Removed"; }},
      {"inverted", [](json& t) { t["pre_tokenizer"]["pretokenizers"][0]["invert"] = true; }},
      {"add_prefix_space", [](json& t) { t["pre_tokenizer"]["pretokenizers"][1]["add_prefix_space"] = true; }},
      {"pretokenizers[0]", [](json& t) { t["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "^a"; }},
      {"Metaspace",
       [](json& t) {
         t["decoder"] = {{"type", "Metaspace"}};
       }},
      {"lstrip", [](json& t) { t["added_tokens"][0]["lstrip"] = true; }},
  };
  for (const auto& [name, spoil] : cases) {
    json tokenizer = small_tokenizer(kMerges);
    spoil(tokenizer);
    EXPECT_THAT(refusal(tokenizer), HasSubstr(name));
    EXPECT_THAT(refusal(tokenizer), HasSubstr("tokenizer.json: "));
  }
}

TEST(TokenizerJson, refuses_broken_vocabularies) {
  const std::vector<std::pair<const char*, std::function<void(json&)>>> cases = {
      {"0x61", [](json& t) { t["model"]["vocab"].erase("a"); }},
      {"two tokens have the id 98", [](json& t) { t["model"]["vocab"]["a"] = 98; }},
      {"2000000000", [](json& t) { t["model"]["vocab"]["xyz"] = 2000000000; }},
      {"-1", [](json& t) { t["model"]["vocab"]["xyz"] = -1; }},
      {"no id", [](json& t) { t["model"]["vocab"]["xyz"] = "x"; }},
      {"\"xy\" is no token", [](json& t) { t["model"]["merges"].push_back("x y"); }},
      {"no pair", [](json& t) { t["model"]["merges"].push_back("x"); }},
      {"no pair", [](json& t) { t["model"]["merges"].push_back({"x"}); }},
      {"of another token", [](json& t) { t["added_tokens"][0]["id"] = 7; }},
      {"content", [](json& t) { t["added_tokens"][0].erase("content"); }},
      {"id", [](json& t) { t["added_tokens"][0]["id"] = 2000000000; }},
      {"eos_token", [](json& t) { t["added_tokens"][0]["content"] = "<other>"; }},
      {"`model` is missing", [](json& t) { t.erase("model"); }},
      {"not an object", [](json& t) { t = json::array(); }},
  };
  for (const auto& [what, spoil] : cases) {
    json tokenizer = small_tokenizer(kMerges);
    spoil(tokenizer);
    EXPECT_THAT(refusal(tokenizer), HasSubstr(what));
  }
}

TEST(TokenizerConfig, names_the_ends_and_adds_tokens) {
  const test::TempFolder folder;
  folder.write("tokenizer.json", small_tokenizer(kMerges).dump());
  folder.write("tokenizer_config.json", R"({"eos_token": {"content": "<|im_end|>"}, "pad_token": "<|endoftext|>",
      "added_tokens_decoder": {"260": {"content": "<|im_end|>", "special": true}}})");
  const auto tokenizer = make_tokenizer(folder.path(""));
  EXPECT_EQ(tokenizer->end_of_text(), 260);
  EXPECT_EQ(tokenizer->padding(), 259);
  EXPECT_EQ(tokenizer->vocabulary(), 261);
  EXPECT_EQ(tokenizer->files().size(), 2u);
}

TEST(TokenizerConfig, is_refused_where_it_names_no_token_or_no_id) {
  const test::TempFolder folder;
  folder.write("tokenizer.json", small_tokenizer(kMerges).dump());
  const std::vector<std::pair<const char*, const char*>> cases = {
      {"eos_token", R"({"eos_token": "<|im_end|>"})"},
      {"eos_token", R"({"eos_token": {"content": ""}})"},
      {"pad_token", R"({"pad_token": "[PAD]"})"},
      {"added_tokens_decoder.260abc", R"({"added_tokens_decoder": {"260abc": {"content": "<x>"}}})"},
      {"added_tokens_decoder. ", R"({"added_tokens_decoder": {"": {"content": "<x>"}}})"},
  };
  for (const auto& [key, config] : cases) {
    folder.write("tokenizer_config.json", config);
    EXPECT_THAT(test::data_error([&] { make_tokenizer(folder.path("")); }),
                HasSubstr(std::string("tokenizer_config.json: ") + key));
  }
}

/// A folder with vocab.json and merges.txt as of `kMerges`.
class VocabAndMerges : public testing::Test {
 protected:
  void SetUp() override {
    folder_.write("vocab.json", small_tokenizer(kMerges)["model"]["vocab"].dump());
    folder_.write("tokenizer_config.json", R"({"tokenizer_class": "GPT2Tokenizer"})");
  }
  std::unique_ptr<Tokenizer> with_merges(const std::string& merges) {
    folder_.write("merges.txt", merges);
    return make_tokenizer(folder_.path(""));
  }
  test::TempFolder folder_;
};

TEST_F(VocabAndMerges, skip_a_first_line_with_the_version_only) {
  for (const char* merges : {"#version: 0.2\nt h\nth e\n# #\n", "t h\r\nth e\r\n# #", "# #\nt h\nth e\n"})
    EXPECT_THAT(encode(*with_merges(merges), "the##"), ElementsAre(257, 258));
  EXPECT_THAT(test::data_error([&] { with_merges("t h\n#version: 0.2\n"); }), HasSubstr("merges.txt:2"));
}

TEST_F(VocabAndMerges, have_an_end_of_text_after_the_vocabulary) {
  EXPECT_EQ(with_merges("")->end_of_text(), 259);
}

TEST_F(VocabAndMerges, name_file_and_line_of_what_is_wrong) {
  EXPECT_THAT(test::data_error([&] { with_merges("t h\nt h e\n"); }), HasSubstr("merges.txt:2"));
  EXPECT_THAT(test::data_error([&] { with_merges("t h\nx y\n"); }), HasSubstr("merges.txt:2"));
}

TEST_F(VocabAndMerges, are_refused_where_nothing_says_how_to_split) {
  folder_.write("tokenizer_config.json", R"({"tokenizer_class": "RobertaTokenizer"})");
  EXPECT_THAT(test::data_error([&] { with_merges(""); }), HasSubstr("RobertaTokenizer"));
  folder_.write("tokenizer_config.json", "{}");
  EXPECT_THAT(test::data_error([&] { with_merges(""); }), HasSubstr("259 tokens"));
}

TEST_F(VocabAndMerges, of_qwen2_normalise_and_split_digits) {
  folder_.write("tokenizer_config.json", R"({"tokenizer_class": "Qwen2Tokenizer"})");
  const auto tokenizer = with_merges("");
  EXPECT_EQ(tokenizer->decode(encode(*tokenizer, "e\u0301")), "\u00e9");
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t j = 0; j < 3; ++j) bits = bits << 8 | (i + j < bytes.size() ? static_cast<uint8_t>(bytes[i + j]) : 0u);
    for (size_t j = 0; j < 4; ++j) text += i + j > bytes.size() ? '=' : digits[bits >> (18 - 6 * j) & 63];
  }
  return text;
}

TEST(Llama3Model, merges_what_together_is_a_token_the_lowest_rank_first) {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  tokens.insert(tokens.end(), {"bc", "ab", "abcd", "\n\n"});
  for (int first = 0; tokens.size() < 128000; ++first)
    for (int second = 0; second < 256 && tokens.size() < 128000; ++second)
      tokens.push_back({'\x7f', static_cast<char>(first / 256), static_cast<char>(first), static_cast<char>(second)});
  std::string lines;
  for (size_t rank = 0; rank < tokens.size(); ++rank) lines += fmt::format("{} {}\n", base64(tokens[rank]), rank);
  const test::TempFolder folder;
  const auto tokenizer = make_tokenizer(folder.write("tokenizer.model", lines));
  EXPECT_THAT(encode(*tokenizer, "abc"), ElementsAre('a', 256));
  EXPECT_THAT(encode(*tokenizer, "abcd"), ElementsAre(258));
  EXPECT_THAT(encode(*tokenizer, "abcda"), ElementsAre('a', 256, 'd', 'a'));
  EXPECT_EQ(tokenizer->vocabulary(), 128256);
  EXPECT_EQ(tokenizer->end_of_text(), 128001);
  EXPECT_EQ(tokenizer->padding(), 128004);
  EXPECT_EQ(tokenizer->special("<|eot_id|>"), 128009);
  EXPECT_EQ(tokenizer->special("<|reserved_special_token_247|>"), 128255);
  EXPECT_EQ(tokenizer->special("<|reserved_special_token_248|>"), std::nullopt);
}

TEST(Llama3Model, refuses_sentencepiece_and_other_vocabularies) {
  const test::TempFolder folder;
  const auto refusal_of = [&](const std::string& text) {
    return test::data_error([&] { make_tokenizer(folder.write("tokenizer.model", text)); });
  };
  EXPECT_THAT(refusal_of("\n\x0e\n\x05<unk>"), HasSubstr("SentencePiece"));
  EXPECT_THAT(refusal_of("IQ== 0\nIg== 2\n"), HasSubstr("line 2"));
  EXPECT_THAT(refusal_of("IQ== 0\nIg== 1\n"), HasSubstr("128000"));
}

}  // namespace
}  // namespace lmnet
