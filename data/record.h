#pragma once
#include <cstddef>
#include <string>
#include <vector>

namespace lmnet {

struct ChatMessage {
  std::string role;  // system, user, assistant, …
  std::string content;
};

/// One training text: the prompt is read only, the answer is learnt. Plain text has an empty prompt. A chat has neither
/// but messages.
struct Record {
  std::string prompt;
  std::string answer;
  std::vector<ChatMessage> messages = {};
  bool end_of_prompt = false;  // an end of text stands between prompt and answer
  size_t bytes() const;
};

}  // namespace lmnet
