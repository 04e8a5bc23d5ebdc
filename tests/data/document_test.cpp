#include "data/document.h"

#include <gmock/gmock.h>

#include "tests/data/support.h"

namespace lmnet {
namespace {

using testing::ElementsAre;

class DocumentTest : public testing::Test {
 protected:
  std::unique_ptr<Tokenizer> tokenizer_ = make_tokenizer("bytes");
};

TEST_F(DocumentTest, learns_the_answer_and_the_end_of_an_alpaca_record) {
  const Record record{test::alpaca_prompt("Name a fruit.", ""), "Fig"};
  const Document document = make_document(*tokenizer_, record);
  ASSERT_EQ(document.tokens.size(), record.prompt.size() + 4);
  for (size_t i = 0; i < document.learn.size(); ++i) EXPECT_EQ(document.learn[i], i >= record.prompt.size() ? 1 : 0);
  EXPECT_EQ(document.tokens.back(), 256);
}

TEST_F(DocumentTest, learns_what_the_assistant_says_and_the_end_of_its_turn) {
  const Document document = make_document(*tokenizer_, {{}, {}, {{"user", "a"}, {"assistant", "b"}}});
  std::string learnt;
  for (size_t i = 0; i < document.tokens.size(); ++i)
    if (document.learn[i]) learnt += static_cast<char>(document.tokens[i]);
  EXPECT_EQ(learnt, "b<|im_end|>");
  EXPECT_EQ(tokenizer_->decode(document.tokens), "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n");
  EXPECT_EQ(document.tokens.back(), 256);
}

TEST_F(DocumentTest, may_have_an_end_of_text_behind_the_prompt) {
  Record record{"mr", " a"};
  record.end_of_prompt = true;
  const Document document = make_document(*tokenizer_, record);
  EXPECT_THAT(document.tokens, ElementsAre('m', 'r', 256, ' ', 'a', 256));
  EXPECT_THAT(document.learn, ElementsAre(0, 0, 0, 1, 1, 1));
}

TEST_F(DocumentTest, is_cut_off_without_packing_and_learns_no_first_token) {
  Document document = make_document(*tokenizer_, {"", "abcdef"});
  EXPECT_TRUE(fit(document, {4, false}));
  EXPECT_THAT(document.tokens, ElementsAre('a', 'b', 'c', 'd'));
  EXPECT_THAT(document.learn, ElementsAre(0, 1, 1, 1));
  document = make_document(*tokenizer_, {"pppp", "never reached"});
  EXPECT_FALSE(fit(document, {4, false}));
}

}  // namespace
}  // namespace lmnet
