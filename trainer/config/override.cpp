#include <fmt/format.h>

#include <charconv>
#include <variant>

#include "trainer/config/tree.h"

namespace lmnet::config {
namespace {

using Step = std::variant<std::string, size_t>;  // a key or an index

/// Takes `train.stages[0].lr` apart; `where` names the argument.
class PathReader {
 public:
  PathReader(std::string_view path, const std::string& where) : rest_(path), path_(path), where_(where) {}

  std::vector<Step> read() {
    std::vector<Step> steps;
    while (true) {
      steps.emplace_back(key());
      while (rest_.starts_with('[')) steps.emplace_back(index());
      if (rest_.empty()) return steps;
      if (!rest_.starts_with('.')) bad();
      rest_.remove_prefix(1);
    }
  }

 private:
  std::string key() {
    const std::string name(rest_.substr(0, rest_.find_first_of(".[]")));
    if (name.empty()) bad();
    rest_.remove_prefix(name.size());
    return name;
  }

  size_t index() {
    size_t value = 0;
    const char* end = rest_.data() + rest_.size();
    const auto [stop, error] = std::from_chars(rest_.data() + 1, end, value);
    if (error != std::errc{} || stop == end || *stop != ']') bad();
    rest_.remove_prefix(static_cast<size_t>(stop + 1 - rest_.data()));
    return value;
  }

  [[noreturn]] void bad() const {
    fail(where_, fmt::format("\"{}\" is not the path of a key, write it like train.stages[0].lr", path_));
  }

  std::string_view rest_, path_;
  const std::string& where_;
};

bool is_empty(const Node& node) {
  return node.kind == Node::Kind::null || (node.kind == Node::Kind::scalar && !node.quoted && node.text == "none");
}

/// Something that stands for nothing gets entries by the override that names one.
void become(Node& node, Node::Kind kind, const std::string& where) {
  Node filled;
  filled.kind = kind;
  filled.key = node.key;
  filled.where = where;
  node = std::move(filled);
}

Node& step_to_key(Node& node, const std::string& name, const std::string& path, const std::string& where) {
  if (is_empty(node)) become(node, Node::Kind::map, where);
  if (node.kind == Node::Kind::list) {
    fail(where, fmt::format("{0} is a list, name one of its entries like {0}[0].{1}", path, name));
  }
  if (node.kind == Node::Kind::scalar) {
    fail(where,
         fmt::format("{0} is {1} and has no keys, set it as a whole like {0}={{{2}: …}}", path, describe(node), name));
  }
  if (Node* found = node.find(name)) return *found;
  Node fresh;
  fresh.key = name;
  fresh.where = where;
  return node.items.emplace_back(std::move(fresh));
}

Node& step_to_index(Node& node, size_t index, const std::string& path, const std::string& where) {
  if (is_empty(node)) become(node, Node::Kind::list, where);
  if (node.kind != Node::Kind::list) fail(where, fmt::format("{} is {}, not a list", path, describe(node)));
  const size_t size = node.items.size();
  if (index > size) {
    const std::string range = size == 0 ? "the index can only be 0, which adds the first"
                                        : fmt::format("the index must be from 0 to {0} ({0} adds one)", size);
    fail(where, fmt::format("{} has {} {}, {}", path, size, size == 1 ? "entry" : "entries", range));
  }
  if (index < size) return node.items[index];
  Node fresh;
  fresh.where = where;
  return node.items.emplace_back(std::move(fresh));
}

}  // namespace

void apply_override(Node& root, const std::string& argument) {
  const std::string where = fmt::format("argument \"{}\"", argument);
  const size_t equals = argument.find('=');
  if (equals == std::string::npos) fail(where, "there is no \"=\" in it, write key=value like train.global_batch=64");
  const std::string path = argument.substr(0, equals);
  Node* node = &root;
  std::string reached;
  for (const Step& step : PathReader(path, where).read()) {
    if (const auto* name = std::get_if<std::string>(&step)) {
      node = &step_to_key(*node, *name, reached, where);
      reached = join(reached, *name);
    } else {
      node = &step_to_index(*node, std::get<size_t>(step), reached, where);
      reached = join(reached, std::get<size_t>(step));
    }
  }
  Node value = read_argument_value(argument.substr(equals + 1), where, path);
  value.key = node->key;
  *node = std::move(value);
}

}  // namespace lmnet::config
