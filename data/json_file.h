#pragma once
#include <simdjson.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace lmnet {

/// The bytes of a file. Throws DataError.
std::string whole_file(const std::filesystem::path& file);

/// In words: `a list`, `null`.
std::string_view kind_of(simdjson::dom::element value);

/// A value of a JSON file that knows its place: each function throws DataError naming file and key where the value is
/// not what is asked for. It lives as long as its JsonFile.
class JsonValue {
 public:
  JsonValue(simdjson::dom::element value, std::string where) : value_(value), where_(std::move(where)) {}

  /// A field of an object; null counts as absent.
  std::optional<JsonValue> find(std::string_view key) const;
  JsonValue at(std::string_view key) const;

  std::string_view text() const;
  int64_t integer() const;
  double number() const;
  bool flag() const;
  simdjson::dom::object object() const;
  simdjson::dom::array array() const;
  bool is_text() const { return value_.is_string(); }

  /// Fields that may be absent.
  std::string_view text(std::string_view key, std::string_view otherwise) const;
  bool flag(std::string_view key, bool otherwise) const;

  /// `FILE: model.vocab`
  const std::string& where() const { return where_; }
  [[noreturn]] void fail(std::string_view what) const;

 private:
  template <class T>
  T get(std::string_view kind) const;

  simdjson::dom::element value_;
  std::string where_;
};

/// A JSON file in memory. Throws DataError where it cannot be read or is no JSON.
class JsonFile {
 public:
  explicit JsonFile(const std::filesystem::path& file);
  JsonFile(const JsonFile&) = delete;
  JsonFile& operator=(const JsonFile&) = delete;
  const JsonValue& root() const { return *root_; }

 private:
  simdjson::dom::parser parser_;
  std::optional<JsonValue> root_;  // into parser_
};

}  // namespace lmnet
