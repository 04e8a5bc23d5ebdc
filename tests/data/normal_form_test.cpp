#include "data/normal_form.h"

#include <gtest/gtest.h>
#include <utf8proc.h>

#include <cstdlib>
#include <random>

#include "tests/data/tokenizer_support.h"

namespace lmnet {
namespace {

std::string normal_form(std::string_view text) {
  NormalForm form;
  return std::string(form(text));
}

std::string by_utf8proc(const std::string& text) {
  utf8proc_uint8_t* mapped = utf8proc_NFC(reinterpret_cast<const utf8proc_uint8_t*>(text.c_str()));
  const std::string result = reinterpret_cast<const char*>(mapped);
  std::free(mapped);
  return result;
}

TEST(NormalForm, composes_marks_jamo_and_singletons) {
  EXPECT_EQ(normal_form("e\u0301x"), "\u00e9x");
  EXPECT_EQ(normal_form("q\u0307\u0323"), "q\u0323\u0307");
  EXPECT_EQ(normal_form("\u1100\u1161\u11a8"), "\uac01");
  EXPECT_EQ(normal_form("\uac00\u11a8"), "\uac01");
  EXPECT_EQ(normal_form("\u212b"), "\u00c5");
  EXPECT_EQ(normal_form("\ufb01"), "\ufb01");
}

TEST(NormalForm, leaves_a_text_in_normal_form_where_it_is) {
  NormalForm form;
  for (const std::string text : {"", "plain", "na\u00efve \u2013 \u6f22\u5b57 \u043a\u0438\u0440\u0438\u043b"})
    EXPECT_EQ(form(text).data(), text.data());
}

TEST(NormalForm, is_that_of_utf8proc) {
  std::mt19937_64 random(3);
  for (int i = 0; i < 20000; ++i) {
    const std::string text = test::random_text(random, 12, false);
    ASSERT_EQ(normal_form(text), by_utf8proc(text));
  }
}

TEST(NormalForm, knows_which_characters_stand_alone) {
  for (utf8proc_int32_t point = 0; point < 0x110000; ++point) {
    if (point >= 0xd800 && point < 0xe000) continue;
    utf8proc_int32_t parts[8];
    int boundclass = 0;
    const auto count = utf8proc_decompose_char(point, parts, 8, UTF8PROC_DECOMPOSE, &boundclass);
    const bool alone = stands_alone(static_cast<char32_t>(point));
    if (alone) {
      ASSERT_EQ(utf8proc_get_property(point)->combining_class, 0) << point;
      ASSERT_EQ(utf8proc_normalize_utf32(parts, count, UTF8PROC_COMPOSE), 1) << point;
      ASSERT_EQ(parts[0], point);
    }
    const auto again = utf8proc_decompose_char(point, parts, 8, UTF8PROC_DECOMPOSE, &boundclass);
    for (utf8proc_ssize_t i = 1; i < again; ++i) ASSERT_FALSE(stands_alone(static_cast<char32_t>(parts[i]))) << point;
  }
}

TEST(NormalForm, orders_a_million_marks_in_time) {
  std::string text = "a", below, above;
  for (int i = 0; i < 500000; ++i) {
    text += "\u0307\u0323";
    above += "\u0307";
    below += "\u0323";
  }
  // The first mark below composes with the letter (U+1EA1).
  EXPECT_EQ(normal_form(text), "\u1ea1" + below.substr(2) + above);
}

}  // namespace
}  // namespace lmnet
