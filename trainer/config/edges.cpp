#include "trainer/config/edges.h"

#include <array>

#include "trainer/config/schema.h"

namespace lmnet::config {
namespace {

/// `{kind: block}`, or the word alone.
EdgeKinds read_link(const Codec<std::string>& kind, const Node& node, const std::string& path) {
  if (node.kind == Node::Kind::scalar) return parse_edge_kind(kind.read(node, path));
  const std::array<std::string, 1> known = {"kind"};
  for (const Node& entry : node.items) {
    if (entry.key != known.front()) refuse_key(entry, path, known);
  }
  return parse_edge_kind(kind.read(node.items.front(), join(path, known.front())));
}

Node write_link(const EdgeKinds& link) {
  Node node{.kind = Node::Kind::map, .items = {Node::word(to_string(link))}};
  node.items.front().key = "kind";
  return node;
}

}  // namespace

Codec<EdgeKinds> edge_kinds(bool may_be_none) {
  const Codec<std::string> kind = choice({"block", "attention", "mlp", "linear", "identity"});
  const std::string allowed =
      (may_be_none ? "none, " : "") + kind.allowed + ", or a list of these; each also as {kind: …}";
  return {allowed,
          [=](const Node& node, const std::string& path) -> EdgeKinds {
            if (may_be_none && node.kind == Node::Kind::scalar && node.text == "none") return {};
            if (node.kind == Node::Kind::scalar && !node.text.empty()) return read_link(kind, node, path);
            if (node.items.empty()) refuse(node, path, allowed);
            if (node.kind != Node::Kind::list) return read_link(kind, node, path);
            EdgeKinds kinds;
            for (size_t i = 0; i < node.items.size(); ++i) {
              const Node& item = node.items[i];
              const bool is_word = item.kind == Node::Kind::scalar && !item.text.empty();
              if (!is_word && (item.kind != Node::Kind::map || item.items.empty()))
                refuse(item, join(path, i), kind.allowed);
              const EdgeKinds link = read_link(kind, item, join(path, i));
              kinds.insert(kinds.end(), link.begin(), link.end());
            }
            return kinds;
          },
          [=](const EdgeKinds& kinds) {
            if (kinds.empty() && may_be_none) return Node::word("none");
            if (kinds.size() < 2) return write_link(kinds);
            Node list{.kind = Node::Kind::list};
            for (const EdgeKind link : kinds) list.items.push_back(write_link({link}));
            return list;
          }};
}

}  // namespace lmnet::config
