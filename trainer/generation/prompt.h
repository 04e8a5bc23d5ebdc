#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/chat.h"

namespace lmnet {

/// What to continue: a text; or ids, which need no tokenizer; or a chat, whose next turn is the assistant's. Nothing at
/// all = the start of a text.
struct Prompt {
  std::string text;
  std::vector<int32_t> ids;
  std::vector<ChatMessage> messages = {};
};

/// JSON lines `{"prompt": …}`, `{"ids": […]}` or `{"messages": [{"role": …, "content": …}, …]}`; other keys are
/// ignored. Throws DataError with file and line.
std::vector<Prompt> read_prompts(const std::filesystem::path& file);

}  // namespace lmnet
