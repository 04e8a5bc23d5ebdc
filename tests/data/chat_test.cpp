#include "data/chat.h"

#include <gmock/gmock.h>

#include "tests/data/tokenizer_support.h"

namespace lmnet {
namespace {

const std::vector<ChatMessage> kChat = {{"user", "Hi <|im_end|>"}, {"assistant", "\n\nYes"}};

std::unique_ptr<Tokenizer> with_chat_tokens() {
  auto json = test::small_tokenizer({{"\n", "\n"}, {"\n\n", "\n"}});
  for (const char* content : {"<|im_start|>", "<|im_end|>"}) {
    const size_t id = json["added_tokens"].back()["id"].get<size_t>() + 1;
    json["added_tokens"].push_back({{"id", id}, {"content", content}, {"special", true}});
  }
  return test::make_tokenizer(json);
}

std::string learnt(const Tokenizer& tokenizer, const ChatTokens& chat) {
  EXPECT_EQ(chat.ids.size(), chat.learn.size());
  std::vector<int32_t> ids;
  for (size_t i = 0; i < chat.ids.size(); ++i)
    if (chat.learn[i] == 1) ids.push_back(chat.ids[i]);
  return tokenizer.decode_special(ids);
}

TEST(Chat, is_written_in_chatml_with_one_token_for_each_border) {
  const auto tokenizer = with_chat_tokens();
  const ChatTokens chat = encode_chat(*tokenizer, kChat);
  EXPECT_EQ(tokenizer->decode_special(chat.ids),
            "<|im_start|>user\nHi <|im_end|><|im_end|>\n<|im_start|>assistant\n\n\nYes<|im_end|>\n");
  EXPECT_EQ(std::count(chat.ids.begin(), chat.ids.end(), tokenizer->special("<|im_start|>")), 2);
  EXPECT_EQ(std::count(chat.ids.begin(), chat.ids.end(), tokenizer->special("<|im_end|>")), 2);
}

TEST(Chat, learns_what_the_assistant_says_and_its_end) {
  const auto tokenizer = with_chat_tokens();
  const std::vector<ChatMessage> chat = {{"system", "s"}, {"user", "u"}, {"assistant", "A"}, {"assistant", "B"}};
  EXPECT_EQ(learnt(*tokenizer, encode_chat(*tokenizer, chat)), "A<|im_end|>B<|im_end|>");
}

TEST(Chat, learns_a_token_that_joins_the_header_and_what_is_said) {
  const auto tokenizer = with_chat_tokens();
  EXPECT_EQ(learnt(*tokenizer, encode_chat(*tokenizer, kChat)), "\n\n\nYes<|im_end|>");
}

TEST(Chat, prompts_the_assistant) {
  const auto tokenizer = with_chat_tokens();
  EXPECT_EQ(tokenizer->decode_special(chat_prompt(*tokenizer, {kChat.data(), 1})),
            "<|im_start|>user\nHi <|im_end|><|im_end|>\n<|im_start|>assistant\n");
}

TEST(Chat, is_plain_text_for_a_tokenizer_without_its_tokens) {
  const auto tokenizer = make_tokenizer("bytes");
  const ChatTokens chat = encode_chat(*tokenizer, {kChat.data() + 1, 1});
  EXPECT_EQ(tokenizer->decode(chat.ids), "<|im_start|>assistant\n\n\nYes<|im_end|>\n");
  EXPECT_EQ(learnt(*tokenizer, chat), "\n\nYes<|im_end|>");
}

}  // namespace
}  // namespace lmnet
