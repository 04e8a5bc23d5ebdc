#include "data/chat.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace lmnet {
namespace {

constexpr std::string_view kStart = "<|im_start|>", kEnd = "<|im_end|>", kLearnt = "assistant";

class Writer {
 public:
  explicit Writer(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {
    tokenizer_.encode(std::string(kLearnt) + "\n", header_);
  }

  void messages(std::span<const ChatMessage> messages) {
    for (const ChatMessage& message : messages) write(message);
  }

  void header() {
    special(kStart, false);
    chat_.ids.insert(chat_.ids.end(), header_.begin(), header_.end());
    fill(false);
  }

  ChatTokens take() { return std::move(chat_); }

 private:
  void write(const ChatMessage& message) {
    const bool learn = message.role == kLearnt;
    special(kStart, false);
    const size_t begin = chat_.ids.size();
    text(message.role + "\n" + message.content, learn);
    if (learn) forget_header(begin);
    special(kEnd, learn);
    text("\n", false);
  }

  void special(std::string_view content, bool learn) {
    if (const auto id = tokenizer_.special(content)) {
      chat_.ids.push_back(*id);
      fill(learn);
    } else {
      text(content, learn);
    }
  }

  void text(std::string_view text, bool learn) {
    tokenizer_.encode(text, chat_.ids);
    fill(learn);
  }

  void fill(bool learn) { chat_.learn.resize(chat_.ids.size(), learn); }

  /// Header and content are cut into tokens together, as elsewhere; what is not as in the header alone is learnt.
  void forget_header(size_t begin) {
    const auto first = chat_.ids.begin() + static_cast<std::ptrdiff_t>(begin);
    const auto same = std::mismatch(header_.begin(), header_.end(), first, chat_.ids.end()).first - header_.begin();
    std::fill_n(chat_.learn.begin() + static_cast<std::ptrdiff_t>(begin), same, uint8_t{0});
  }

  const Tokenizer& tokenizer_;
  std::vector<int32_t> header_;  // of the assistant's messages
  ChatTokens chat_;
};

}  // namespace

ChatTokens encode_chat(const Tokenizer& tokenizer, std::span<const ChatMessage> messages) {
  Writer writer(tokenizer);
  writer.messages(messages);
  return writer.take();
}

std::vector<int32_t> chat_prompt(const Tokenizer& tokenizer, std::span<const ChatMessage> messages) {
  Writer writer(tokenizer);
  writer.messages(messages);
  writer.header();
  return writer.take().ids;
}

}  // namespace lmnet
