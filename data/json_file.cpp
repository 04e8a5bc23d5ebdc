#include "data/json_file.h"

#include <fmt/format.h>

#include <fstream>
#include <system_error>

#include "data/errors.h"

namespace lmnet {

std::string whole_file(const std::filesystem::path& file) {
  std::error_code error;
  std::string bytes(is_regular_file(file, error) ? file_size(file, error) : 0, '\0');
  std::ifstream in(file, std::ios::binary);
  in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!in || error || !is_regular_file(file, error)) throw DataError(fmt::format("{}: cannot be read", file.string()));
  return bytes;
}

std::string_view kind_of(simdjson::dom::element value) {
  using Type = simdjson::dom::element_type;
  switch (value.type()) {
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

std::optional<JsonValue> JsonValue::find(std::string_view key) const {
  simdjson::dom::element field;
  if (object().at_key(key).get(field) != simdjson::SUCCESS || field.is_null()) return std::nullopt;
  return JsonValue(field, fmt::format("{}{}{}", where_, where_.ends_with(": ") ? "" : ".", key));
}

JsonValue JsonValue::at(std::string_view key) const {
  if (auto field = find(key)) return *std::move(field);
  fail(fmt::format("`{}` is missing", key));
}

template <class T>
T JsonValue::get(std::string_view kind) const {
  T value;
  if (value_.get(value) != simdjson::SUCCESS) fail(fmt::format("is not {}", kind));
  return value;
}

std::string_view JsonValue::text() const {
  return get<std::string_view>("text");
}

int64_t JsonValue::integer() const {
  return get<int64_t>("a whole number");
}

double JsonValue::number() const {
  return get<double>("a number");
}

bool JsonValue::flag() const {
  return get<bool>("true or false");
}

simdjson::dom::object JsonValue::object() const {
  return get<simdjson::dom::object>("an object");
}

simdjson::dom::array JsonValue::array() const {
  return get<simdjson::dom::array>("a list");
}

std::string_view JsonValue::text(std::string_view key, std::string_view otherwise) const {
  const auto field = find(key);
  return field ? field->text() : otherwise;
}

bool JsonValue::flag(std::string_view key, bool otherwise) const {
  const auto field = find(key);
  return field ? field->flag() : otherwise;
}

void JsonValue::fail(std::string_view what) const {
  throw DataError(fmt::format("{}{}{}", where_, where_.ends_with(": ") ? "" : " ", what));
}

JsonFile::JsonFile(const std::filesystem::path& file) {
  const std::string text = whole_file(file);
  simdjson::dom::element root;
  if (const auto error = parser_.parse(text).get(root))
    throw DataError(fmt::format("{}: invalid JSON: {}", file.string(), simdjson::error_message(error)));
  root_.emplace(root, file.string() + ": ");
}

}  // namespace lmnet
