#include "data/record.h"

#include <fmt/format.h>
#include <glob.h>

#include <algorithm>

#include "data/errors.h"
#include "data/record_reader.h"

namespace lmnet {

size_t Record::bytes() const {
  size_t sum = prompt.size() + answer.size();
  for (const ChatMessage& message : messages) sum += message.role.size() + message.content.size();
  return sum;
}

Format parse_format(const std::string& name) {
  if (name == "c4") return Format::c4;
  if (name == "alpaca") return Format::alpaca;
  if (name == "messages") return Format::messages;
  if (name == "text") return Format::text;
  throw DataError(fmt::format("unknown data format \"{}\"; there are: c4, alpaca, messages, text", name));
}

std::vector<std::filesystem::path> expand(const std::string& pattern) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  if (fs::is_directory(pattern, ignored)) {
    throw DataError(fmt::format("{}: is a folder; name its files, as in {}/*.json.gz", pattern, pattern));
  }
  // A file of exactly this name wins, so that brackets in a name do no harm.
  if (fs::exists(pattern, ignored)) return {pattern};

  glob_t found{};
  std::vector<fs::path> files;
  if (glob(pattern.c_str(), GLOB_NOSORT, nullptr, &found) == 0) {
    files.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  }
  globfree(&found);
  std::erase_if(files, [&](const fs::path& file) { return fs::is_directory(file, ignored); });
  if (files.empty()) {
    const bool is_glob = pattern.find_first_of("*?[") != std::string::npos;
    throw DataError(fmt::format("{}: {}", pattern, is_glob ? "no file has such a name" : "there is no such file"));
  }
  std::sort(files.begin(), files.end());
  return files;
}

void read_records(const std::filesystem::path& file, Format format,
                  const std::function<bool(int64_t, Record&&)>& take) {
  RecordReader reader(file, format);
  int64_t number = 0;
  for (Record record; reader.next(record); ++number) {
    if (!take(number, std::move(record))) return;
  }
}

std::string alpaca_prompt(std::string_view instruction, std::string_view input) {
  constexpr std::string_view request = "Write a response that appropriately completes the request.";
  if (input.empty()) {
    return fmt::format("Below is an instruction that describes a task. {}\n\n### Instruction:\n{}\n\n### Response:",
                       request, instruction);
  }
  return fmt::format(
      "Below is an instruction that describes a task, paired with an input that provides further context. "
      "{}\n\n### Instruction:\n{}\n\n### Input:\n{}\n\n### Response:",
      request, instruction, input);
}

}  // namespace lmnet
