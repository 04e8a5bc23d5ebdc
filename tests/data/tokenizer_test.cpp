#include "data/tokenizer.h"

#include <gmock/gmock.h>

#include <random>
#include <thread>

#include "tests/data/tokenizer_support.h"

namespace lmnet {
namespace {

using test::encode;
using test::small_tokenizer;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(ByteTokenizer, gives_each_byte_its_own_id_and_two_special_ones) {
  const auto tokenizer = make_tokenizer("bytes");
  EXPECT_THAT(encode(*tokenizer, std::string_view("A\0\xff", 3)), ElementsAre(65, 0, 255));
  EXPECT_EQ(tokenizer->name(), "bytes");
  EXPECT_EQ(tokenizer->hash(), "bytes");
  EXPECT_TRUE(tokenizer->files().empty());
  EXPECT_EQ(tokenizer->end_of_text(), 256);
  EXPECT_EQ(tokenizer->padding(), 257);
  EXPECT_EQ(tokenizer->vocabulary(), 258);
}

TEST(ByteTokenizer, decodes_what_it_encoded_and_drops_special_ids) {
  const auto tokenizer = make_tokenizer("bytes");
  const std::string text("naïve\0\n\xfe", 9);
  std::vector<int32_t> ids = encode(*tokenizer, text);
  ids.push_back(tokenizer->end_of_text());
  ids.push_back(tokenizer->padding());
  EXPECT_EQ(tokenizer->decode(ids), text);
}

TEST(MakeTokenizer, says_what_there_is_for_an_unknown_name_and_what_a_folder_lacks) {
  const test::TempFolder folder;
  folder.write("merges.txt", "a b\n");
  EXPECT_THAT(test::data_error([] { make_tokenizer("byte"); }), HasSubstr("the built-in one is `bytes`"));
  EXPECT_THAT(test::data_error([&] { make_tokenizer(folder.path("")); }), HasSubstr("vocab.json and merges.txt"));
  EXPECT_FALSE(has_tokenizer(folder.path("")));
  EXPECT_FALSE(has_tokenizer(folder.path("none")));
}

TEST(MakeTokenizer, names_the_place_that_cannot_be_looked_at) {
  const test::TempFolder folder;
  std::filesystem::create_symlink("tokenizer.json", folder.path("tokenizer.json"));
  const auto refusal = [&](const std::string& name) { return test::data_error([&] { make_tokenizer(name); }); };
  EXPECT_THAT(refusal(std::string(5000, 'x')), HasSubstr("xxx: cannot be read"));
  EXPECT_THAT(refusal(folder.path("")), HasSubstr("tokenizer.json: cannot be read"));
  EXPECT_THAT(test::data_error([&] { has_tokenizer(folder.path("")); }), HasSubstr("tokenizer.json: cannot be read"));
}

TEST(MakeTokenizer, takes_a_folder_and_its_tokenizer_json_alike_wherever_they_lie) {
  const test::TempFolder here, there;
  const std::string json = small_tokenizer({}).dump();
  const std::string file = here.write("tokenizer.json", json);
  there.write("tokenizer.json", json);
  EXPECT_TRUE(has_tokenizer(here.path("")));
  EXPECT_EQ(make_tokenizer(file)->hash(), make_tokenizer(there.path(""))->hash());
  EXPECT_THAT(make_tokenizer(here.path(""))->files(), ElementsAre(file));
  there.write("tokenizer.json", json + "\n");
  EXPECT_NE(make_tokenizer(file)->hash(), make_tokenizer(there.path(""))->hash());
}

TEST(ByteLevelTokenizer, keeps_special_tokens_apart_from_text_unless_asked) {
  const auto tokenizer = test::make_tokenizer(small_tokenizer({{"<", "|"}}));
  const std::string text = "a<|endoftext|>b";
  const int32_t end = tokenizer->end_of_text();
  EXPECT_EQ(end, 257);
  EXPECT_EQ(tokenizer->padding(), end);
  EXPECT_EQ(tokenizer->special("<|endoftext|>"), end);
  EXPECT_EQ(tokenizer->special("a"), std::nullopt);
  const auto plain = encode(*tokenizer, text);
  EXPECT_THAT(plain, testing::Not(testing::Contains(end)));
  EXPECT_EQ(tokenizer->decode(plain), text);
  std::vector<int32_t> special;
  tokenizer->encode_special(text, special);
  EXPECT_THAT(special, ElementsAre('a', end, 'b'));
  EXPECT_EQ(tokenizer->decode(special), "ab");
  EXPECT_EQ(tokenizer->decode_special(special), text);
}

TEST(ByteLevelTokenizer, always_finds_added_tokens_that_are_not_special_the_longest_first) {
  auto json = small_tokenizer({});
  json["added_tokens"].push_back({{"id", 257}, {"content", "<t>"}, {"special", false}, {"normalized", false}});
  json["added_tokens"].push_back({{"id", 258}, {"content", "<t>>"}, {"special", false}, {"normalized", false}});
  const auto tokenizer = test::make_tokenizer(json);
  EXPECT_THAT(encode(*tokenizer, "x<t><t>><t"), ElementsAre('x', 257, 258, '<', 't'));
  EXPECT_EQ(tokenizer->decode(std::vector<int32_t>{257, 'x', 258}), "<t>x<t>>");
}

TEST(ByteLevelTokenizer, finds_one_of_many_added_tokens_that_begin_alike) {
  auto json = small_tokenizer({});
  for (int i = 0; i < 3000; ++i)
    json["added_tokens"].push_back({{"id", 257 + i}, {"content", fmt::format("<{:04}>", i)}, {"special", false}});
  const auto tokenizer = test::make_tokenizer(json);
  const std::string many(1 << 20, '<');
  const auto ids = encode(*tokenizer, many + "2999>" + many);
  ASSERT_EQ(ids.size(), 2 * many.size());
  EXPECT_EQ(ids[many.size() - 1], 257 + 2999);
}

TEST(ByteLevelTokenizer, looks_for_tokens_that_are_not_normalized_first_whether_or_not_it_normalises) {
  for (const char* normalizer : {"null", R"({"type": "NFC"})"}) {
    auto json = small_tokenizer({});
    json["normalizer"] = nlohmann::json::parse(normalizer);
    json["added_tokens"].push_back({{"id", 257}, {"content", "ab"}, {"special", false}, {"normalized", true}});
    json["added_tokens"].push_back({{"id", 258}, {"content", "bc"}, {"special", false}, {"normalized", false}});
    EXPECT_THAT(encode(*test::make_tokenizer(json), "abcab"), ElementsAre('a', 258, 257)) << normalizer;
  }
}

TEST(ByteLevelTokenizer, normalises_before_it_splits_and_looks_for_normalized_tokens_after) {
  auto json = small_tokenizer({{"\xc3", "\xa9"}});
  json["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}}}};
  json["added_tokens"].push_back({{"id", 258}, {"content", "e\xcc\x81!"}, {"special", false}, {"normalized", true}});
  json["added_tokens"].push_back({{"id", 259}, {"content", "e\xcc\x81?"}, {"special", false}, {"normalized", false}});
  const auto tokenizer = test::make_tokenizer(json);
  EXPECT_THAT(encode(*tokenizer, "e\xcc\x81"), ElementsAre(256));
  EXPECT_THAT(encode(*tokenizer, "\xc3\xa9!"), ElementsAre(258));
  EXPECT_THAT(encode(*tokenizer, "e\xcc\x81?\xc3\xa9?"), ElementsAre(259, 256, '?'));
}

TEST(ByteLevelTokenizer, takes_whole_words_as_they_are_where_merges_are_ignored) {
  auto json = small_tokenizer({{"a", "b"}});
  json["model"]["vocab"]["abc"] = 258;
  EXPECT_THAT(encode(*test::make_tokenizer(json), "abc"), ElementsAre(256, 'c'));
  json["model"]["ignore_merges"] = true;
  EXPECT_THAT(encode(*test::make_tokenizer(json), "abc abcd"), ElementsAre(258, ' ', 256, 'c', 'd'));
}

TEST(ByteLevelTokenizer, skips_ids_that_no_token_has) {
  const auto tokenizer = test::make_tokenizer(small_tokenizer({}));
  EXPECT_EQ(tokenizer->decode(std::vector<int32_t>{-1, 'x', 300, 1 << 30}), "x");
}

TEST(ByteLevelTokenizer, gives_the_same_from_several_threads_at_once) {
  const auto tokenizer = test::make_tokenizer(small_tokenizer({{"t", "h"}, {"th", "e"}, {" ", " "}}));
  std::mt19937_64 random(1);
  std::vector<std::string> texts;
  std::vector<std::vector<int32_t>> expected;
  for (int i = 0; i < 500; ++i) {
    texts.push_back(test::random_text(random, 40, true));
    expected.push_back(encode(*tokenizer, texts.back()));
  }
  const auto same = [&] {
    for (size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(encode(*tokenizer, texts[i]), expected[i]);
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back(same);
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace lmnet
