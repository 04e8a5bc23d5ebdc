#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace lmnet::config {

/// A piece of YAML as it was written, with the place that errors name. A scalar gets its type only when a codec reads
/// it, so that a topology `1` stays text.
struct Node {
  enum class Kind { null, scalar, list, map };
  Kind kind = Kind::null;
  std::string key = {};          // under which it stands in its map
  std::string text = {};         // of a scalar
  bool quoted = false;           // a scalar that is text, whatever it looks like
  std::vector<Node> items = {};  // of a list or a map, in the order written
  std::string where = {};        // `configs/x.yaml:12` or `argument "…"`

  /// A scalar that has its type by its looks: numbers, true, words.
  static Node plain(std::string text);
  /// A scalar that is text; quoted where YAML's syntax would not take it as one plain word.
  static Node word(std::string text);
  const Node* find(std::string_view name) const;
  Node* find(std::string_view name);
};

/// What stands there, for `got …` in errors.
std::string describe(const Node& node);

/// Throws ConfigError `where: sentence`.
[[noreturn]] void fail(const std::string& where, const std::string& sentence);
/// Throws ConfigError `where: path: got …, expected …`.
[[noreturn]] void refuse(const Node& node, const std::string& path, const std::string& expected);
/// Throws ConfigError for a value of the design that LMNet cannot do yet; `way_out` is what to do instead.
[[noreturn]] void refuse_planned(const Node& node, const std::string& path, const std::string& way_out);

/// The place to name when two entries of a map do not fit: that of `first`, or of `second` if only that one is given or
/// came from an argument, which is what the user has just typed.
std::string place_of(const Node& map, std::string_view first, std::string_view second);

/// The path of an entry below `path`: `train` + `clip` = `train.clip`.
std::string join(const std::string& path, const std::string& name);
std::string join(const std::string& path, size_t index);

/// Reads one YAML document of a file. Throws ConfigError for bad YAML and keys given twice.
Node read_file_text(const std::string& yaml, const std::string& file);
/// Reads the value of an override for `path`; every place in it is the argument.
Node read_argument_value(const std::string& yaml, const std::string& argument, const std::string& path);

/// Sets what `argument` (`train.stages[0].lr=1e-3`) names in the tree. Throws ConfigError.
void apply_override(Node& root, const std::string& argument);

/// Block YAML, two spaces a level; lists of scalars on one line.
std::string to_block_text(const Node& node);
/// The same on one line.
std::string to_flow_text(const Node& node);

/// Scalars typed as YAML's core schema does: null, true/false, whole numbers, floating-point numbers, text.
nlohmann::ordered_json to_json(const Node& node);
Node from_json(const nlohmann::ordered_json& json);

}  // namespace lmnet::config
