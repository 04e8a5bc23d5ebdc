#include "data/record_reader.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <string_view>

#include "data/errors.h"

namespace lmnet {
namespace {

constexpr std::string_view blanks = " \t\r\n\v\f";

bool is_blank(std::string_view line) {
  return line.find_first_not_of(blanks) == std::string_view::npos;
}

std::string_view type_name(simdjson::dom::element_type type) {
  using Type = simdjson::dom::element_type;
  switch (type) {
    case Type::ARRAY:
      return "a list";
    case Type::OBJECT:
      return "an object";
    case Type::STRING:
      return "text";
    case Type::BOOL:
      return "true or false";
    case Type::NULL_VALUE:
      return "null";
    default:
      return "a number";
  }
}

}  // namespace

RecordReader::RecordReader(const std::filesystem::path& file, Format format, const Cursor& start)
    : parser_(std::make_unique<simdjson::dom::parser>()), format_(format) {
  open(file);
  if (start.record > 0) go(start);
}

RecordReader::RecordReader(RecordReader&&) noexcept = default;
RecordReader::~RecordReader() = default;

void RecordReader::open(const std::filesystem::path& file) {
  try {
    bytes_ = std::make_unique<ByteReader>(file);
    if (format_ == Format::text || next_visible() != '[') return;
    bytes_->get();
    list_ = true;
  } catch (const BrokenCompression& error) {
    throw DataError(fmt::format("{}: record 0: {}; fetch the file again", file.string(), error.what()));
  }
}

void RecordReader::go(const Cursor& start) {
  try {
    bytes_->seek(start.offset);
  } catch (const BrokenCompression& error) {
    throw DataError(fmt::format("{}: before record {}: {}; fetch the file again", bytes_->file().string(), start.record,
                                error.what()));
  }
  record_ = start.record;
  line_ = start.line;
}

bool RecordReader::next(Record& record) {
  if (!next_raw()) return false;
  parse(record);
  ++record_;
  return true;
}

bool RecordReader::skip() {
  if (!next_raw()) return false;
  ++record_;
  return true;
}

bool RecordReader::next_raw() {
  raw_.clear();
  first_line_ = line_ + 1;
  try {
    return list_ ? next_item() : format_ == Format::text ? next_text() : next_line();
  } catch (const BrokenCompression& error) {
    throw DataError(
        fmt::format("{}: record {}: {}; fetch the file again", bytes_->file().string(), record_, error.what()));
  }
}

bool RecordReader::next_line() {
  while (bytes_->read_line(raw_)) {
    first_line_ = ++line_;
    if (!is_blank(raw_)) return true;
  }
  return false;
}

bool RecordReader::next_text() {
  std::string line;
  while (bytes_->read_line(line)) {
    ++line_;
    if (!is_blank(line)) {
      if (raw_.empty()) {
        first_line_ = line_;
      } else {
        raw_ += '\n';
      }
      raw_ += line;
      if (raw_.size() > ByteReader::max_record) {
        fail(fmt::format("longer than {} MiB; blank lines separate the texts", ByteReader::max_record >> 20));
      }
    } else if (!raw_.empty()) {
      break;
    }
  }
  return !raw_.empty();
}

bool RecordReader::next_item() {
  if (ended_) return false;
  int byte = next_visible();
  if (record_ > 0 && byte == ',') {
    bytes_->get();
    byte = next_visible();
  } else if (record_ > 0 && byte != ']' && byte >= 0) {
    fail("invalid JSON: a comma is missing before it");
  }
  first_line_ = line_ + 1;
  if (byte == '{') {
    read_object();
    return true;
  }
  if (byte < 0) fail("the list is cut off: its `]` is missing");
  if (byte != ']') fail("is not a JSON object");
  bytes_->get();
  if (next_visible() >= 0) fail("there is text after the list's `]`");
  ended_ = true;
  return false;
}

void RecordReader::read_object() {
  int depth = 0;
  bool quoted = false;
  do {
    const int byte = bytes_->get();
    if (byte < 0) fail("the file is cut off inside this record");
    raw_ += static_cast<char>(byte);
    if (raw_.size() > ByteReader::max_record) {
      fail(fmt::format("longer than {} MiB: a quote or brace is missing", ByteReader::max_record >> 20));
    }
    if (byte == '\n') ++line_;
    if (quoted && byte == '\\') {
      const int escaped = bytes_->get();
      if (escaped >= 0) raw_ += static_cast<char>(escaped);
    } else if (byte == '"') {
      quoted = !quoted;
    } else if (!quoted) {
      depth += byte == '{' ? 1 : byte == '}' ? -1 : 0;
    }
  } while (depth > 0);
}

int RecordReader::next_visible() {
  while (bytes_->peek() >= 0 && blanks.find(static_cast<char>(bytes_->peek())) != std::string_view::npos) {
    if (bytes_->get() == '\n') ++line_;
  }
  return bytes_->peek();
}

void RecordReader::parse(Record& record) {
  if (format_ == Format::text) {
    record = {{}, std::move(raw_)};
    return;
  }
  simdjson::dom::element root;
  if (const auto error = parser_->parse(raw_).get(root)) {
    fail(fmt::format("invalid JSON: {}", simdjson::error_message(error)));
  }
  if (!root.is_object()) fail(fmt::format("is {}, not a JSON object", type_name(root.type())));
  const auto text = [&](std::string_view name, bool optional) {
    simdjson::dom::element field;
    const bool missing = root.at_key(name).get(field) != simdjson::SUCCESS;
    if (optional && (missing || field.is_null())) return std::string_view();
    if (missing) fail(fmt::format("the field \"{}\" is missing", name));
    if (!field.is_string()) fail(fmt::format("the field \"{}\" is {}, not text", name, type_name(field.type())));
    return field.get_string().value_unsafe();
  };
  if (format_ == Format::c4) {
    record = {{}, std::string(text("text", false))};
  } else if (format_ == Format::alpaca) {
    record = {alpaca_prompt(text("instruction", false), text("input", true)), std::string(text("output", false))};
  } else {
    record = {{}, {}, parse_messages(root)};
  }
}

std::vector<ChatMessage> RecordReader::parse_messages(const simdjson::dom::element& root) const {
  simdjson::dom::array list;
  if (root["messages"].get(list) != simdjson::SUCCESS) fail("has no list \"messages\"");
  std::vector<ChatMessage> messages;
  for (const simdjson::dom::element message : list) {
    std::string_view role, content;
    if (message["role"].get(role) != simdjson::SUCCESS || message["content"].get(content) != simdjson::SUCCESS)
      fail(fmt::format("message {} lacks \"role\" or \"content\", or they are no texts", messages.size()));
    messages.push_back({std::string(role), std::string(content)});
  }
  if (messages.empty()) fail("has no messages");
  return messages;
}

void RecordReader::fail(const std::string& what) const {
  throw DataError(fmt::format("{}: record {} (line {}): {}", bytes_->file().string(), record_, first_line_, what));
}

}  // namespace lmnet
