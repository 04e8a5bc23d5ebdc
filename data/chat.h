#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/record.h"
#include "data/tokenizer.h"

namespace lmnet {

/// A chat as tokens; `learn` is 1 on what the assistant says and on the end of its turn.
struct ChatTokens {
  std::vector<int32_t> ids;
  std::vector<uint8_t> learn;
};

/// Messages in ChatML: `<|im_start|>ROLE\nCONTENT<|im_end|>\n` each. Special tokens within a message are plain text. A
/// tokenizer without the two tokens gets them as plain text. No system message is added where there is none.
ChatTokens encode_chat(const Tokenizer& tokenizer, std::span<const ChatMessage> messages);

/// The same, ending with `<|im_start|>assistant\n`: what the assistant is to continue.
std::vector<int32_t> chat_prompt(const Tokenizer& tokenizer, std::span<const ChatMessage> messages);

}  // namespace lmnet
