#include "data/json_rows.h"

#include <algorithm>

#include "data/blanks.h"
#include "data/errors.h"

namespace lmnet {

bool JsonLines::read(Row& row) {
  const bool more = read_line(row.json);
  row.line = line_;
  return more;
}

JsonObjects::JsonObjects(const std::filesystem::path& file) : TextRowReader(file, {}) {
  list_ = next_visible() == '[';
  if (list_) bytes_.get();
}

bool JsonObjects::read(Row& row) {
  if (ended_) return false;
  int byte = next_visible();
  if (list_ && record_ > 0 && byte == ',') {
    bytes_.get();
    byte = next_visible();
  } else if (list_ && record_ > 0 && byte != ']' && byte >= 0) {
    throw BrokenFile("invalid JSON: a comma is missing before it");
  }
  row.line = line_ + 1;
  if (byte == '{') {
    read_object(row.json);
    return true;
  }
  if (byte < 0 && !list_) return false;
  if (byte < 0) throw BrokenFile("the list is cut off: its `]` is missing");
  if (!list_ || byte != ']') throw BrokenFile("is not a JSON object");
  bytes_.get();
  if (next_visible() >= 0) throw BrokenFile("there is text after the list's `]`");
  ended_ = true;
  return false;
}

void JsonObjects::read_object(std::string& json) {
  int depth = 0;
  bool quoted = false, escaped = false;
  do {
    const std::string_view rest = bytes_.rest();
    if (rest.empty()) throw BrokenFile("the file is cut off inside this record");
    size_t end = 0;
    do {
      const char c = rest[end++];
      if (escaped) {
        escaped = false;
      } else if (c == '"') {
        quoted = !quoted;
      } else if (quoted) {
        escaped = c == '\\';
      } else if (c == '{' || c == '}') {
        depth += c == '{' ? 1 : -1;
      }
    } while (end < rest.size() && depth > 0);
    json.append(rest.substr(0, end));
    bytes_.take(end);
    check_size(json.size(), "a quote or brace is missing");
  } while (depth > 0);
  line_ += std::ranges::count(json, '\n');
}

std::unique_ptr<RowReader> open_json(const std::filesystem::path& file, bool whole_file) {
  ByteReader bytes(file);
  while (bytes.peek() >= 0 && blanks.find(static_cast<char>(bytes.peek())) != blanks.npos) bytes.get();
  if (bytes.peek() == '[') return std::make_unique<JsonObjects>(file);
  if (!whole_file || bytes.peek() != '{') return std::make_unique<JsonLines>(file);
  // An object that does not end where its line does is laid out over several.
  std::string line;
  bytes.read_line(line);
  if (trimmed(line).ends_with('}')) return std::make_unique<JsonLines>(file);
  return std::make_unique<JsonObjects>(file);
}

}  // namespace lmnet
