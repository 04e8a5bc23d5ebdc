#include "data/tokenizer.h"

#include <gmock/gmock.h>

#include "tests/data/support.h"

namespace lmnet {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(ByteTokenizer, gives_each_byte_its_own_id_and_two_special_ones) {
  const auto tokenizer = make_tokenizer("bytes");
  std::vector<int32_t> ids{7};
  tokenizer->encode(std::string_view("A\0\xff", 3), ids);
  EXPECT_THAT(ids, ElementsAre(7, 65, 0, 255));
  EXPECT_EQ(tokenizer->name(), "bytes");
  EXPECT_EQ(tokenizer->end_of_text(), 256);
  EXPECT_EQ(tokenizer->padding(), 257);
  EXPECT_EQ(tokenizer->vocabulary(), 258);
}

TEST(ByteTokenizer, decodes_what_it_encoded_and_drops_special_ids) {
  const auto tokenizer = make_tokenizer("bytes");
  std::vector<int32_t> ids;
  const std::string text = "Grüße, 世界 \xf0\x9f\x8c\x8d";
  tokenizer->encode(text, ids);
  ids.push_back(256);
  ids.push_back(257);
  EXPECT_EQ(tokenizer->decode(ids), text);
}

TEST(ByteTokenizer, is_the_only_one_so_far) {
  EXPECT_THAT(test::data_error([] { make_tokenizer("byte"); }), HasSubstr("the one there is: bytes"));
  EXPECT_THAT(test::data_error([] { make_tokenizer("/models/Qwen2.5-0.5B"); }), HasSubstr("not built yet"));
}

}  // namespace
}  // namespace lmnet
