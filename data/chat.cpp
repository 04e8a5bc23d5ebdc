#include "data/chat.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace lmnet {
namespace {

constexpr std::string_view kStart = "<|im_start|>", kEnd = "<|im_end|>", kLearnt = "assistant";

class Writer {
 public:
  Writer(const Tokenizer& tokenizer, ChatTokens& chat) : tokenizer_(tokenizer), chat_(chat) {}

  void message(const ChatMessage& message) {
    const bool learn = message.role == kLearnt;
    special(kStart, false);
    const size_t begin = chat_.ids.size();
    text(message.role + "\n" + message.content, learn);
    if (learn) forget_header(begin);
    special(kEnd, learn);
    text("\n", false);
  }

  void header() {
    special(kStart, false);
    text(std::string(kLearnt) + "\n", false);
  }

 private:
  void special(std::string_view content, bool learn) {
    if (const auto id = tokenizer_.special(content)) {
      chat_.ids.push_back(*id);
      fill(learn);
    } else {
      text(std::string(content), learn);
    }
  }

  void text(const std::string& text, bool learn) {
    tokenizer_.encode(text, chat_.ids);
    fill(learn);
  }

  void fill(bool learn) { chat_.learn.resize(chat_.ids.size(), learn); }

  /// Header and content are cut into tokens together, as elsewhere; what is not as in the header alone is learnt.
  void forget_header(size_t begin) {
    std::vector<int32_t> header;
    tokenizer_.encode(std::string(kLearnt) + "\n", header);
    const auto first = chat_.ids.begin() + static_cast<std::ptrdiff_t>(begin);
    const auto same = std::mismatch(header.begin(), header.end(), first, chat_.ids.end()).first - header.begin();
    std::fill_n(chat_.learn.begin() + static_cast<std::ptrdiff_t>(begin), same, uint8_t{0});
  }

  const Tokenizer& tokenizer_;
  ChatTokens& chat_;
};

}  // namespace

ChatTokens encode_chat(const Tokenizer& tokenizer, std::span<const ChatMessage> messages) {
  ChatTokens chat;
  Writer writer(tokenizer, chat);
  for (const ChatMessage& message : messages) writer.message(message);
  return chat;
}

std::vector<int32_t> chat_prompt(const Tokenizer& tokenizer, std::span<const ChatMessage> messages) {
  ChatTokens chat = encode_chat(tokenizer, messages);
  Writer(tokenizer, chat).header();
  return std::move(chat.ids);
}

}  // namespace lmnet
