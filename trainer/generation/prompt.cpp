#include "trainer/generation/prompt.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "data/errors.h"

namespace lmnet {
namespace {

using Json = nlohmann::json;

std::vector<int32_t> parse_ids(const Json& ids) {
  const auto is_id = [](const Json& id) { return id.is_number_integer() && id >= 0 && id <= INT32_MAX; };
  if (!ids.is_array() || ids.empty() || !std::ranges::all_of(ids, is_id))
    throw DataError("\"ids\" must be a list of token ids");
  return ids.get<std::vector<int32_t>>();
}

std::vector<ChatMessage> parse_messages(const Json& messages) {
  const auto has_text = [](const Json& message, const char* key) {
    return message.is_object() && message.contains(key) && message[key].is_string();
  };
  const auto is_message = [&](const Json& message) {
    return has_text(message, "role") && has_text(message, "content");
  };
  if (!messages.is_array() || messages.empty() || !std::ranges::all_of(messages, is_message))
    throw DataError("\"messages\" must be a list of {\"role\": TEXT, \"content\": TEXT}");
  std::vector<ChatMessage> chat;
  for (const Json& message : messages)
    chat.push_back({message["role"].get<std::string>(), message["content"].get<std::string>()});
  return chat;
}

Prompt parse_prompt(const std::string& line) {
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) throw DataError("no JSON object; give {\"prompt\": …}, {\"ids\": […]} or {\"messages\": […]}");
  if (json.contains("prompt") + json.contains("ids") + json.contains("messages") != 1)
    throw DataError("a prompt has one of \"prompt\", \"ids\" and \"messages\", this line has none or several");
  if (json.contains("ids")) return {"", parse_ids(json["ids"])};
  if (json.contains("messages")) return {"", {}, parse_messages(json["messages"])};
  if (!json["prompt"].is_string()) throw DataError("\"prompt\" must be a text");
  return {json["prompt"].get<std::string>(), {}};
}

}  // namespace

std::vector<Prompt> read_prompts(const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in || std::filesystem::is_directory(file))
    throw DataError(fmt::format("{}: cannot read this file of prompts", file.string()));
  std::vector<Prompt> prompts;
  int64_t number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    try {
      prompts.push_back(parse_prompt(line));
    } catch (const DataError& error) {
      throw DataError(fmt::format("{}:{}: {}", file.string(), number, error.what()));
    }
  }
  if (prompts.empty()) throw DataError(fmt::format("{}: there is no prompt in it", file.string()));
  return prompts;
}

}  // namespace lmnet
