#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "trainer/config/tree.h"
#include "trainer/config/words.h"

namespace lmnet::config {
namespace {

/// JSON's strings are YAML's double-quoted ones.
std::string quote(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string key_text(const std::string& key) {
  return is_plain_word(key) ? key : quote(key);
}

bool is_block(const Node& node) {
  const auto filled_map = [](const Node& item) { return item.kind == Node::Kind::map && !item.items.empty(); };
  if (node.kind != Node::Kind::list) return filled_map(node);
  return !node.items.empty() && std::ranges::all_of(node.items, filled_map);
}

void write_block(const Node& node, size_t indent, std::string& out) {
  const std::string margin(indent, ' ');
  for (const Node& item : node.items) {
    if (node.kind == Node::Kind::list) {
      const size_t dash = out.size() + indent;
      write_block(item, indent + 2, out);
      out[dash] = '-';
      continue;
    }
    out += margin + key_text(item.key) + ":";
    if (is_block(item)) {
      out += "\n";
      write_block(item, indent + 2, out);
    } else {
      out += " " + to_flow_text(item) + "\n";
    }
  }
}

}  // namespace

std::string to_flow_text(const Node& node) {
  if (node.kind == Node::Kind::null) return "null";
  if (node.kind == Node::Kind::scalar) return node.quoted ? quote(node.text) : node.text;
  const bool map = node.kind == Node::Kind::map;
  std::vector<std::string> items;
  for (const Node& item : node.items) items.push_back((map ? key_text(item.key) + ": " : "") + to_flow_text(item));
  return fmt::format(fmt::runtime(map ? "{{{}}}" : "[{}]"), fmt::join(items, ", "));
}

std::string to_block_text(const Node& node) {
  if (!is_block(node)) return to_flow_text(node) + "\n";
  std::string out;
  write_block(node, 0, out);
  return out;
}

}  // namespace lmnet::config
