#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include "trainer/config/tree.h"

namespace lmnet::config {
namespace {

bool is_utf8(const std::string& text) {
  try {
    return !nlohmann::json(text).dump().empty();
  } catch (const nlohmann::json::type_error&) {
    return false;
  }
}

/// Makes Nodes of what yaml-cpp parsed. yaml-cpp keeps keys that are given twice and follows aliases in circles; both
/// are refused here.
class Converter {
 public:
  /// The place of a line is `source:line`, or `source` alone when that has no lines.
  Converter(std::string source, bool has_lines) : source_(std::move(source)), has_lines_(has_lines) {}

  std::string where(const YAML::Mark& mark) const {
    return has_lines_ && mark.line >= 0 ? fmt::format("{}:{}", source_, mark.line + 1) : source_;
  }

  Node convert(const YAML::Node& yaml, const std::string& path, const std::string& place, int depth = 0) const {
    constexpr int deepest = 64;
    if (depth > deepest) fail(place, fmt::format("{} is nested more than {} levels deep", path, deepest));
    Node node;
    node.where = place;
    if (yaml.IsScalar()) {
      node.kind = Node::Kind::scalar;
      node.text = yaml.Scalar();
      if (!is_utf8(node.text)) fail(place, fmt::format("{} is not UTF-8 text", path.empty() ? "this" : path));
      node.quoted = yaml.Tag() == "!" || yaml.Tag() == "tag:yaml.org,2002:str";
    } else if (yaml.IsSequence()) {
      node.kind = Node::Kind::list;
      for (const YAML::Node& item : yaml) {
        node.items.push_back(convert(item, join(path, node.items.size()), where(item.Mark()), depth + 1));
      }
    } else if (yaml.IsMap()) {
      node.kind = Node::Kind::map;
      for (const auto& entry : yaml) add_entry(node, entry.first, entry.second, path, depth);
    }
    return node;
  }

 private:
  void add_entry(Node& map, const YAML::Node& name, const YAML::Node& value, const std::string& path, int depth) const {
    const std::string place = where(name.Mark());
    if (!name.IsScalar() || !is_utf8(name.Scalar())) {
      fail(place, fmt::format("a key of {} is not a word of UTF-8 text", path.empty() ? "the config" : path));
    }
    const std::string key_path = join(path, name.Scalar());
    if (const Node* first = map.find(name.Scalar())) {
      fail(place, fmt::format("{} is given twice{}, keep one of them", key_path,
                              has_lines_ ? fmt::format(" (first at {})", first->where) : ""));
    }
    map.items.push_back(convert(value, key_path, place, depth + 1));
    map.items.back().key = name.Scalar();
  }

  std::string source_;
  bool has_lines_;
};

Node read(const std::string& yaml, const Converter& converter, const std::string& path) {
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(yaml);
    if (documents.size() > 1) {
      fail(converter.where(documents[1].Mark()), "a second YAML document starts here, a config is one document");
    }
    const YAML::Node document = documents.empty() ? YAML::Node() : documents.front();
    return converter.convert(document, path, converter.where(document.Mark()));
  } catch (const YAML::Exception& error) {
    const bool in_braces = error.msg == YAML::ErrorMsg::END_OF_MAP_FLOW;
    fail(converter.where(error.mark), fmt::format("this is not valid YAML ({}{})", error.msg,
                                                  in_braces ? "; between { } a key with [ ] needs quotes" : ""));
  }
}

}  // namespace

Node read_file_text(const std::string& yaml, const std::string& file) {
  return read(yaml, Converter(file, true), "");
}

Node read_argument_value(const std::string& yaml, const std::string& argument, const std::string& path) {
  // Signs with a meaning of their own in YAML have none in a value: a glob `*.jsonl` is text.
  constexpr std::string_view signs = "*&!%@`|>";
  if (!yaml.empty() && signs.find(yaml.front()) != signs.npos) {
    Node node = Node::word(yaml);
    node.where = argument;
    return node;
  }
  return read(yaml, Converter(argument, false), path);
}

}  // namespace lmnet::config
