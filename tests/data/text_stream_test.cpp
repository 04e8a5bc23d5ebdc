#include "data/text_stream.h"

#include <gtest/gtest.h>

#include "data/utf8.h"
#include "tests/data/tokenizer_support.h"

namespace lmnet {
namespace {

std::vector<std::string> streamed(std::string_view bytes) {
  const auto tokenizer = make_tokenizer("bytes");
  TextStream stream(*tokenizer);
  std::vector<std::string> parts;
  for (const char c : bytes) parts.push_back(stream.push(static_cast<unsigned char>(c)));
  parts.push_back(stream.finish());
  return parts;
}

std::string replaced(std::string_view bytes) {
  std::string text;
  append_replaced(bytes, text);
  return text;
}

using Parts = std::vector<std::string>;

TEST(TextStream, gives_out_whole_characters) {
  EXPECT_EQ(streamed("a\u00e9\u6f22\U0001f680"),
            (Parts{"a", "", "\u00e9", "", "", "\u6f22", "", "", "", "\U0001f680", ""}));
}

TEST(TextStream, replaces_what_is_no_character_and_an_unfinished_end) {
  EXPECT_EQ(streamed("\xff"
                     "a\xe6\xbc"),
            (Parts{"\ufffd", "a", "", "", "\ufffd"}));
  EXPECT_EQ(streamed("\xe6"
                     "a"),
            (Parts{"",
                   "\ufffd"
                   "a",
                   ""}));
}

TEST(TextStream, is_as_new_after_the_end) {
  const auto tokenizer = make_tokenizer("bytes");
  TextStream stream(*tokenizer);
  stream.push(0xe6);
  stream.finish();
  EXPECT_EQ(stream.push('a'), "a");
  EXPECT_EQ(stream.finish(), "");
}

TEST(TextStream, gives_together_the_replaced_bytes) {
  std::mt19937_64 random(4);
  for (int i = 0; i < 2000; ++i) {
    const std::string bytes = test::random_text(random, 12, true);
    std::string text;
    for (const std::string& part : streamed(bytes)) {
      EXPECT_EQ(replaced(part), part);  // each is valid by itself
      text += part;
    }
    EXPECT_EQ(text, replaced(bytes));
  }
}

// As Python's bytes.decode(errors="replace") does.
TEST(Utf8, replaces_each_maximal_part_of_a_broken_character_once) {
  EXPECT_EQ(replaced("\xf0\x9f\x9a!"), "\ufffd!");
  EXPECT_EQ(replaced("\xc0\xaf"), "\ufffd\ufffd");
  EXPECT_EQ(replaced("\xed\xa0\x80"), "\ufffd\ufffd\ufffd");
  EXPECT_EQ(replaced("\xf4\x90\x80\x80"), "\ufffd\ufffd\ufffd\ufffd");
  EXPECT_EQ(replaced("\xe6\xbc"), "\ufffd");
  EXPECT_EQ(replaced("\xe6\xbc\xe6\xbc\xa2"), "\ufffd\u6f22");
}

}  // namespace
}  // namespace lmnet
