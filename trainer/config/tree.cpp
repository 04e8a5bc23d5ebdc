#include "trainer/config/tree.h"

#include <fmt/format.h>

#include <algorithm>

#include "model/graph/errors.h"
#include "trainer/config/words.h"

namespace lmnet::config {

Node Node::plain(std::string text) {
  Node node;
  node.kind = Kind::scalar;
  node.text = std::move(text);
  return node;
}

Node Node::word(std::string text) {
  Node node = plain(std::move(text));
  node.quoted = !is_plain_word(node.text);
  return node;
}

const Node* Node::find(std::string_view name) const {
  const auto found = std::ranges::find(items, name, &Node::key);
  return kind == Kind::map && found != items.end() ? &*found : nullptr;
}

Node* Node::find(std::string_view name) {
  return const_cast<Node*>(std::as_const(*this).find(name));
}

std::string describe(const Node& node) {
  switch (node.kind) {
    case Node::Kind::null:
      return "nothing";
    case Node::Kind::list:
      return node.items.empty() ? "an empty list" : "a list";
    case Node::Kind::map:
      return node.items.empty() ? "an empty mapping" : "a mapping";
    case Node::Kind::scalar:
      break;
  }
  if (node.quoted) return fmt::format("the text \"{}\"", node.text);
  return to_json(node).is_string() ? fmt::format("\"{}\"", node.text) : node.text;
}

void fail(const std::string& where, const std::string& sentence) {
  throw ConfigError(where + ": " + sentence);
}

void refuse(const Node& node, const std::string& path, const std::string& expected) {
  fail(node.where, fmt::format("{}: got {}, expected {}", path, describe(node), expected));
}

void refuse_planned(const Node& node, const std::string& path, const std::string& way_out) {
  const std::string what = node.kind == Node::Kind::scalar ? describe(node) + " is planned" : "planned";
  fail(node.where, fmt::format("{}: {}, not built yet; {}", path, what, way_out));
}

std::string place_of(const Node& map, std::string_view first, std::string_view second) {
  const Node* a = map.find(first);
  const Node* b = map.find(second);
  const auto typed = [](const Node* node) { return node && node->where.starts_with("argument \""); };
  return !a || (typed(b) && !typed(a)) ? b->where : a->where;
}

std::string join(const std::string& path, const std::string& name) {
  return path.empty() ? name : path + "." + name;
}
std::string join(const std::string& path, size_t index) {
  return fmt::format("{}[{}]", path, index);
}

}  // namespace lmnet::config
