#pragma once
#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "trainer/checkpoint/errors.h"

namespace lmnet {

/// An object of a JSON file, whose fields are all taken, each once and with its type. Throws CheckpointError that names
/// the file and the field.
class JsonFields {
 public:
  using Json = nlohmann::json;

  /// `path`: how its fields are called in errors, such as `files[0].`
  JsonFields(const Json& object, std::string where, std::string path)
      : object_(object), where_(std::move(where)), path_(std::move(path)) {
    if (!object_.is_object()) throw CheckpointError(fmt::format("{}: {} is not an object", where_, path_));
  }
  JsonFields inside(std::string path, const Json& object) const { return {object, where_, std::move(path)}; }

  bool has(const std::string& key) const { return object_.contains(key); }

  const Json& take(const std::string& key) {
    const auto found = object_.find(key);
    if (found == object_.end()) fail(key, "is missing");
    taken_.insert(key);
    return *found;
  }
  const Json& list(const std::string& key) {
    const Json& json = take(key);
    if (!json.is_array()) fail(key, "is not a list");
    return json;
  }
  const Json& map(const std::string& key) {
    const Json& json = take(key);
    if (!json.is_object()) fail(key, "is not an object");
    return json;
  }

  /// Text, or a number that counts something.
  template <typename Value>
  void take(const std::string& key, Value& value) {
    value = read<Value>(key, take(key));
  }
  template <typename Value>
  void take(const std::string& key, std::vector<Value>& values) {
    for (const Json& json : list(key)) values.push_back(read<Value>(key, json));
  }
  /// A number or null.
  void take(const std::string& key, std::optional<double>& value) {
    const Json& json = take(key);
    if (!json.is_null() && !json.is_number()) fail(key, "is not a number");
    value = json.is_null() ? std::nullopt : std::optional(json.get<double>());
  }

  void refuse_others() const {
    for (const auto& item : object_.items())
      if (!taken_.contains(item.key())) fail(item.key(), "is unknown");
  }

  [[noreturn]] void fail(const std::string& key, const std::string& problem) const {
    throw CheckpointError(fmt::format("{}: {}{} {}", where_, path_, key, problem));
  }

 private:
  template <typename Value>
  Value read(const std::string& key, const Json& json) const {
    if constexpr (std::is_same_v<Value, std::string>) {
      if (!json.is_string()) fail(key, "is not text");
    } else {
      constexpr auto largest = static_cast<uint64_t>(std::numeric_limits<Value>::max());
      if (!json.is_number_unsigned() || json.get<uint64_t>() > largest)
        fail(key, fmt::format("is not a whole number from 0 to {}", largest));
    }
    return json.get<Value>();
  }

  const Json& object_;
  std::string where_, path_;
  std::set<std::string> taken_;
};

}  // namespace lmnet
