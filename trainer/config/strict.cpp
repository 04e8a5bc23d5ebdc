#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "trainer/config/schema.h"
#include "trainer/config/words.h"

namespace lmnet::config {
namespace {

/// The names right below a path pattern (`train.stages[]`).
std::vector<std::string> names_below(const std::string& pattern, std::span<const KeyInfo> keys) {
  std::string start = pattern;
  if (!start.empty()) start += '.';
  std::vector<std::string> names;
  for (const KeyInfo& key : keys) {
    if (!key.path.starts_with(start)) continue;
    const size_t end = key.path.find_first_of(".[", start.size());
    const std::string name = key.path.substr(start.size(), end == std::string::npos ? end : end - start.size());
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  }
  return names;
}

/// A key of that name in another place: `train.sequence_length` is `data.sequence_length`.
std::string same_name_elsewhere(const std::string& name, std::span<const KeyInfo> keys) {
  for (const KeyInfo& key : keys) {
    if (key.path.substr(key.path.rfind('.') + 1) != name) continue;
    std::string path = key.path;
    if (const size_t index = path.find("[]"); index != std::string::npos) path.insert(index + 1, 1, '0');
    return path;
  }
  return "";
}

void check(const Node& node, const std::string& path, const std::string& pattern, std::span<const KeyInfo> keys) {
  if (node.kind == Node::Kind::list) {
    for (size_t i = 0; i < node.items.size(); ++i) check(node.items[i], join(path, i), pattern + "[]", keys);
  }
  if (node.kind != Node::Kind::map) return;
  const std::vector<std::string> names = names_below(pattern, keys);
  if (names.empty()) return;  // a value that is a mapping, such as a backbone
  for (const Node& entry : node.items) {
    if (std::ranges::find(names, entry.key) == names.end()) {
      refuse_key(entry, path, names, same_name_elsewhere(entry.key, keys));
    }
    check(entry, join(path, entry.key), join(pattern, entry.key), keys);
  }
}

}  // namespace

void refuse_key(const Node& entry, const std::string& path, std::span<const std::string> known,
                const std::string& elsewhere) {
  const std::string near = nearest(entry.key, known);
  const std::string meant = near.empty() ? elsewhere : join(path, near);
  const std::string hint = meant.empty() ? fmt::format(", {} {} {}", path.empty() ? "a config" : path,
                                                       known.size() == 1 ? "has only" : "has", fmt::join(known, ", "))
                                         : fmt::format(", did you mean {}?", meant);
  fail(entry.where, fmt::format("unknown key {}{}", join(path, entry.key), hint));
}

void check_keys(const Node& tree, std::span<const KeyInfo> keys) {
  check(tree, "", "", keys);
}

}  // namespace lmnet::config
