#include <charconv>
#include <cmath>
#include <optional>

#include "trainer/config/tree.h"

namespace lmnet::config {
namespace {

using nlohmann::ordered_json;

template <class Number>
std::optional<Number> whole_text_as(const std::string& text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

ordered_json typed(const Node& scalar) {
  const std::string& text = scalar.text;
  if (scalar.quoted) return text;
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  if (const auto value = whole_text_as<int64_t>(text)) return *value;
  if (const auto value = whole_text_as<double>(text); value && std::isfinite(*value)) return *value;
  return text;
}

}  // namespace

ordered_json to_json(const Node& node) {
  switch (node.kind) {
    case Node::Kind::null:
      return nullptr;
    case Node::Kind::scalar:
      return typed(node);
    case Node::Kind::list: {
      ordered_json list = ordered_json::array();
      for (const Node& item : node.items) list.push_back(to_json(item));
      return list;
    }
    case Node::Kind::map:
      break;
  }
  ordered_json map = ordered_json::object();
  for (const Node& item : node.items) map[item.key] = to_json(item);
  return map;
}

Node from_json(const ordered_json& json) {
  Node node;
  if (json.is_string()) {
    node = Node::word(json.get<std::string>());
    node.quoted = node.quoted || !typed(Node::plain(node.text)).is_string();
  } else if (json.is_structured()) {
    node.kind = json.is_array() ? Node::Kind::list : Node::Kind::map;
    for (const auto& [key, value] : json.items()) {
      node.items.push_back(from_json(value));
      if (json.is_object()) node.items.back().key = key;
    }
  } else if (!json.is_null()) {
    node = Node::plain(json.dump());
  }
  return node;
}

}  // namespace lmnet::config
