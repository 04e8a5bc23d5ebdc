#include "data/split_pattern.h"

#include <gmock/gmock.h>
#include <malloc.h>

#include "data/pattern_syntax.h"
#include "tests/data/support.h"

namespace lmnet {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> pieces(std::string_view regex, std::string_view text) {
  const SplitPattern pattern(regex);
  SplitPattern::Matcher matcher;
  std::vector<std::string> result;
  pattern.split(text, matcher, [&](std::string_view piece) { result.emplace_back(piece); });
  return result;
}

TEST(SplitPattern, splits_as_gpt2_does) {
  EXPECT_THAT(pieces(kGpt2Pattern, "It's 2024,  I'LL pay!\n\n x"),
              ElementsAre("It", "'s", " 2024", ",", " ", " I", "'", "LL", " pay", "!", "\n\n", " x"));
}

TEST(SplitPattern, splits_as_qwen2_does) {
  EXPECT_THAT(pieces(kQwen2Pattern, "I'LL pay $123!\r\n\n  x\t_y"),
              ElementsAre("I", "'LL", " pay", " $", "1", "2", "3", "!\r\n\n", " ", " x", "\t", "_y"));
}

TEST(SplitPattern, splits_as_llama3_does) {
  EXPECT_THAT(pieces(kLlama3Pattern, "1234567 don'T\n  \n x  "),
              ElementsAre("123", "456", "7", " don", "'T", "\n  \n", " x", "  "));
}

TEST(SplitPattern, reads_blanks_letters_and_digits_as_unicode_does) {
  EXPECT_THAT(pieces(kGpt2Pattern, "naïve\u00a0漢字²\u180ex"),
              ElementsAre("naïve", "\u00a0", "漢字", "²", "\u180e", "x"));
  EXPECT_THAT(pieces(kLlama3Pattern, "a'\u017f"), ElementsAre("a", "'\u017f"));
}

TEST(SplitPattern, gives_what_lies_between_matches_too) {
  EXPECT_THAT(pieces("b+", "abbcb"), ElementsAre("a", "bb", "c", "b"));
  EXPECT_THAT(pieces("b", ""), ElementsAre());
}

TEST(SplitPattern, takes_a_line_of_ten_million_bytes) {
  const std::string letters(10 << 20, 'a'), blanks(10 << 20, ' ');
  for (const std::string_view regex : {kGpt2Pattern, kQwen2Pattern, kLlama3Pattern}) {
    EXPECT_EQ(pieces(regex, letters).size(), 1u);
    EXPECT_EQ(pieces(regex, blanks).size(), 1u);
    EXPECT_EQ(pieces(regex, blanks + "a").size(), 2u);
    EXPECT_EQ(pieces(regex, std::string(10 << 20, '!')).size(), 1u);
  }
  EXPECT_EQ(pieces("(?:ab|ba)+", std::string(1 << 20, 'a') + "b").size(), 2u);
}

TEST(SplitPattern, goes_on_where_the_stack_of_pcre2s_jit_ends) {
  std::string many;
  for (int i = 0; i < 1 << 20; ++i) many += "ab";
  EXPECT_EQ(pieces("(?:ab)+", many).size(), 1u);
}

/// What malloc has given out.
size_t memory_in_use() {
  const auto now = mallinfo2();
  return now.uordblks + now.hblkhd;
}

TEST(SplitPattern, gives_back_the_memory_of_a_match_that_was_interpreted) {
  const std::string many(1 << 18, 'a');
  const SplitPattern pattern("(?:a|b)+");
  SplitPattern::Matcher matcher;
  const size_t before = memory_in_use();
  pattern.split(many, matcher, [](std::string_view) {});
  EXPECT_LT(memory_in_use(), before + many.size());
}

TEST(SplitPattern, stops_an_expression_that_explodes) {
  EXPECT_THAT(test::data_error([] { pieces("(?:a|a|aa)+[bc]", std::string(60, 'a')); }), HasSubstr("limit"));
}

TEST(PatternSyntax, rewrites_what_pcre2_reads_in_another_way) {
  EXPECT_THAT(to_pcre2(R"(\s)"), HasSubstr(R"([\x{9}-\x{d}\x{20}\x{85})"));
  EXPECT_THAT(to_pcre2(R"([^\s-a])"), testing::EndsWith(R"(\x{3000}\-a])"));
  EXPECT_EQ(to_pcre2(R"(\p{Han}\P{^Lu}\u00e9)"), R"(\p{sc:Han}\p{Lu}\x{00e9})");
  EXPECT_EQ(to_pcre2(R"((?i:a)(?!b)[a-z\]]{1,3}x++)"), R"((?i:a)(?!b)[a-z\]]{1,3}x++)");
}

TEST(PatternSyntax, refuses_what_it_does_not_know_by_name) {
  for (const char* regex : {"^a", "a$", R"(\w+)", R"(\bx)", R"(\h)", "[a[bc]]", "[a&&b]", R"([\S])", "(?m:a)", "(*UTF)",
                            "a{1,3}+", "a{,3}", R"(\p{Foo Bar})", R"(\pL)", "[]a]", "[a", R"(a\)", R"(\xff)"})
    EXPECT_THAT(test::data_error([&] { to_pcre2(regex); }), HasSubstr("not supported")) << regex;
}

TEST(SplitPattern, refuses_wrong_expressions_and_empty_matches) {
  EXPECT_THAT(test::data_error([] { SplitPattern("(a"); }), HasSubstr("wrong"));
  EXPECT_THAT(test::data_error([] { SplitPattern(R"(\p{Klingon})"); }), HasSubstr("wrong"));
  EXPECT_THAT(test::data_error([] { SplitPattern("a*"); }), HasSubstr("empty"));
}

}  // namespace
}  // namespace lmnet
