#pragma once
#include <yaml-cpp/yaml.h>

#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "data/errors.h"

namespace lmnet {

/// A value of a YAML file that knows its place: each function throws DataError naming file, line and key where the
/// value is not what is asked for.
class YamlValue {
 public:
  /// The whole file, a mapping. `source` names it.
  static YamlValue parse(const std::string& yaml, const std::string& source);

  bool is_list() const { return node_.IsSequence(); }
  bool is_map() const { return node_.IsMap(); }
  const std::string& text() const;
  bool flag() const;
  std::vector<YamlValue> list() const;
  /// In the order of the file, each key once.
  std::vector<std::pair<std::string, YamlValue>> map() const;

  std::optional<YamlValue> find(const std::string& key) const;
  YamlValue at(const std::string& key) const;
  /// Throws for a key that is none of these.
  void allow(std::initializer_list<std::string> keys) const;

  /// `make()`, whose DataError gets the place.
  template <typename Make>
  auto checked(Make&& make) const {
    try {
      return make();
    } catch (const DataError& error) {
      fail(std::string(": ") + error.what());
    }
  }
  std::string dump() const { return YAML::Dump(node_); }
  [[noreturn]] void fail(const std::string& what) const;

 private:
  YamlValue(YAML::Node node, std::string source, std::string path)
      : node_(std::move(node)), source_(std::move(source)), path_(std::move(path)) {}
  YamlValue inner(const YAML::Node& node, const std::string& key) const;

  YAML::Node node_;
  std::string source_, path_;
};

}  // namespace lmnet
