#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
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
  size_t bytes() const;
};

/// How a source's records are written: `c4` ({"text": …} lines), `alpaca` ({instruction, input, output}, a list or
/// lines; the published Alpaca prompt, loss on the answer only), `messages` ({"messages": [{role, content}, …]}, a list
/// or lines; in ChatML, loss on what the assistant says), `text` (blank lines separate the texts).
enum class Format { c4, alpaca, messages, text };
Format parse_format(const std::string& name);  // throws DataError

/// The files that a path or glob names, sorted; throws DataError when there is none.
std::vector<std::filesystem::path> expand(const std::string& pattern);

/// Calls `take(number, record)` for the records of one file (.json, .jsonl, .txt, each also .gz), numbered from 0, in
/// order, until it returns false. Throws DataError naming file and record: a missing file, broken gzip, bad JSON, a
/// missing field.
void read_records(const std::filesystem::path& file, Format format, const std::function<bool(int64_t, Record&&)>& take);

/// The prompt of an Alpaca record as published by its authors, with and without input.
std::string alpaca_prompt(std::string_view instruction, std::string_view input);

}  // namespace lmnet
