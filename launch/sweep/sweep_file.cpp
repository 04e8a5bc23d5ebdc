#include "launch/sweep/sweep_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>

#include "trainer/checkpoint/errors.h"
#include "trainer/checkpoint/file_io.h"
#include "trainer/config/codec.h"
#include "trainer/config/words.h"

namespace lmnet::sweep {
namespace {

using config::Codec;
using config::Mapping;
using config::Need;

const std::string kSettings = "a mapping of keys such as model.topology to values";
const std::string kAxes = "a mapping of keys such as model.topology to lists of values";
const std::string kCondition = "a mapping of keys such as model.topology to a value or a list of values";

/// A value that is only read.
template <class T>
Codec<T> reads(std::string allowed, std::function<T(const Node&, const std::string&)> read) {
  return {std::move(allowed), std::move(read), [](const T&) { return Node{}; }};
}

/// Whole sections stay in the base config; what names and places a run is the sweep's.
std::string config_key(const Node& entry, const std::string& path) {
  if (entry.key == "run.name") {
    config::fail(entry.where, fmt::format("{}: a sweep names its runs itself, take run.name out", path));
  }
  if (entry.key.find('.') == std::string::npos) {
    config::fail(entry.where,
                 fmt::format("{}: \"{}\" is not the path of a key, write it like model.topology", path, entry.key));
  }
  return entry.key;
}

const Node& mapping(const Node& node, const std::string& path, const std::string& allowed) {
  if (node.kind != Node::Kind::map || node.items.empty()) config::refuse(node, path, allowed);
  return node;
}

Settings read_settings(const Node& node, const std::string& path) {
  Settings settings;
  for (const Node& entry : mapping(node, path, kSettings).items) settings.push_back({config_key(entry, path), entry});
  return settings;
}

std::vector<Axis> read_axes(const Node& node, const std::string& path) {
  std::vector<Axis> axes;
  for (const Node& entry : mapping(node, path, kAxes).items) {
    if (entry.kind != Node::Kind::list || entry.items.empty()) {
      config::refuse(entry, fmt::format("{}: {}", path, entry.key), "a list of values");
    }
    axes.push_back({config_key(entry, path), entry.items, entry.where});
  }
  return axes;
}

std::vector<Axis> read_pairs(const Node& node, const std::string& path) {
  std::vector<Axis> axes = read_axes(node, path);
  for (const Axis& axis : axes) {
    if (axis.values.size() == axes.front().values.size()) continue;
    config::fail(axis.where, fmt::format("{}: {} has {} values, {} has {}: keys that go together have as many", path,
                                         axis.key, axis.values.size(), axes.front().key, axes.front().values.size()));
  }
  return axes;
}

Condition read_condition(const Node& node, const std::string& path) {
  Condition condition;
  for (const Node& entry : mapping(node, path, kCondition).items) {
    const bool list = entry.kind == Node::Kind::list && !entry.items.empty();
    condition.push_back({config_key(entry, path), list ? entry.items : std::vector{entry}, entry.where});
  }
  return condition;
}

/// A name that is part of a folder's name.
std::string read_name(const Node& node, const std::string& path) {
  const std::string name = config::text().read(node, path);
  if (name.find('/') != std::string::npos || name.front() == '.') {
    config::refuse(node, path, "a folder's name without \"/\" and \".\" at its beginning");
  }
  return name;
}

Entry read_entry(const Node& node, const std::string& path) {
  Entry entry;
  for (const Node& item : mapping(node, path, kSettings).items) {
    if (item.key == "name") {
      entry.name = read_name(item, path + ".name");
    } else {
      entry.settings.push_back({config_key(item, path), item});
    }
  }
  return entry;
}

/// `[1, 2, 5]`, or a number: 1 to it.
std::vector<int64_t> read_seeds(const Node& node, const std::string& path) {
  const Codec<int64_t> number = config::whole(node.kind == Node::Kind::list ? 0 : 1);
  std::vector<int64_t> seeds;
  if (node.kind == Node::Kind::list && !node.items.empty()) {
    for (const Node& item : node.items) seeds.push_back(number.read(item, path));
  } else {
    const int64_t last = node.kind == Node::Kind::scalar ? number.read(node, path) : 0;
    if (last == 0) config::refuse(node, path, "a list of seeds, or how many");
    for (int64_t seed = 1; seed <= last; ++seed) seeds.push_back(seed);
  }
  return seeds;
}

template <class T>
Codec<std::vector<T>> list_of(const std::string& allowed, T (*read)(const Node&, const std::string&)) {
  return config::list_of(reads<T>(allowed, read), "a list of entries, each of them " + allowed);
}

Codec<int64_t> count() {
  return config::whole(1, std::numeric_limits<int>::max());
}

Mapping<Rule> rule_keys() {
  Mapping<Rule> keys;
  keys.key("is", &Rule::is, reads<Condition>(kCondition, read_condition), "", Need::always)
      .key("set", &Rule::set, reads<Settings>(kSettings, read_settings), "", Need::always);
  return keys;
}

Mapping<Preparation> preparation_keys() {
  Mapping<Preparation> keys;
  keys.key("base", &Preparation::base, config::text(), "")
      .key("ranks", &Preparation::ranks, count(), "")
      .key("set", &Preparation::set, reads<Settings>(kSettings, read_settings), "")
      .key("each", &Preparation::each, config::list_of(config::text(), "a list of keys that the cells have"), "")
      .key("as", &Preparation::as, config::choice({"model.backbone", "run.resume"}), "");
  return keys;
}

std::vector<Preparation> read_preparations(const Node& node, const std::string& path) {
  static const std::string allowed = "a mapping of names to {base, set, ranks, each, as}";
  const Mapping<Preparation> keys = preparation_keys();
  std::vector<Preparation> all;
  for (const Node& entry : mapping(node, path, allowed).items) {
    const std::string here = config::join(path, entry.key);
    Preparation& made = all.emplace_back();
    keys.read(made, entry, here);
    made.name = read_name(Node{.kind = Node::Kind::scalar, .text = entry.key, .where = entry.where}, path);
    made.where = entry.where;
    if (made.as.empty()) made.as = "model.backbone";
    if (made.base.empty() && made.set.empty()) {
      config::fail(entry.where, fmt::format("{}: it would be the same as a cell, give it a base or set keys", here));
    }
  }
  return all;
}

Mapping<SweepFile> sweep_keys() {
  using File = SweepFile;
  Mapping<File> keys;
  keys.key("name", &File::name, reads<std::string>("a folder's name", read_name), "")
      .key("base", &File::base, config::text(), "", Need::always)
      .key("ranks", &File::ranks, count(), "")
      .key("jobs", &File::jobs, count(), "")
      .key("prepare", &File::prepare,
           reads<std::vector<Preparation>>("a mapping of names to {base, set, ranks, each, as}", read_preparations), "")
      .key("set", &File::set, reads<Settings>(kSettings, read_settings), "")
      .key("seeds", &File::seeds, reads<std::vector<int64_t>>("a list of seeds, or how many", read_seeds), "")
      .key("list", &File::list, list_of<Entry>(kSettings, read_entry), "")
      .key("pairs", &File::pairs, reads<std::vector<Axis>>(kAxes, read_pairs), "")
      .key("grid", &File::grid, reads<std::vector<Axis>>(kAxes, read_axes), "")
      .key("when", &File::when, config::list_of(rule_keys().codec(), "a list of entries {is: {…}, set: {…}}"), "")
      .key("skip", &File::skip, list_of<Condition>(kCondition, read_condition), "");
  return keys;
}

/// Keys that may stand at the top and in `when` and `prepare`, by their names: what a sweep's own keys hold is checked
/// where it is read.
void check_names(const Node& tree) {
  const auto check = [](const Node& node, const std::string& path, const std::vector<config::KeyInfo>& keys) {
    std::vector<std::string> names;
    for (const config::KeyInfo& key : keys) names.push_back(key.path.substr(0, key.path.find_first_of(".[")));
    for (const Node& entry : node.items) {
      if (std::ranges::find(names, entry.key) != names.end()) continue;
      const std::string near = nearest(entry.key, names);
      const std::string hint = near.empty()
                                   ? fmt::format("{} has {}", path.empty() ? "a sweep" : path, fmt::join(names, ", "))
                                   : fmt::format("did you mean {}?", config::join(path, near));
      config::fail(entry.where, fmt::format("unknown key {}, {}", config::join(path, entry.key), hint));
    }
  };
  if (tree.kind != Node::Kind::map) return;
  check(tree, "", sweep_keys().keys());
  if (const Node* rules = tree.find("when"); rules && rules->kind == Node::Kind::list) {
    for (size_t i = 0; i < rules->items.size(); ++i) {
      if (rules->items[i].kind == Node::Kind::map) check(rules->items[i], config::join("when", i), rule_keys().keys());
    }
  }
  if (const Node* made = tree.find("prepare"); made && made->kind == Node::Kind::map) {
    for (const Node& entry : made->items) {
      if (entry.kind == Node::Kind::map) check(entry, config::join("prepare", entry.key), preparation_keys().keys());
    }
  }
}

}  // namespace

SweepFile parse_sweep(const std::string& yaml, const std::string& where) {
  const Node tree = config::read_file_text(yaml, where);
  if (tree.find("model") != nullptr && tree.find("base") == nullptr) {
    config::fail(where, "this is a config, not a sweep: a sweep names one under base (`lmnet help sweep`)");
  }
  check_names(tree);
  SweepFile file;
  sweep_keys().read(file, tree, "");
  file.where = where;
  if (file.name.empty()) file.name = std::filesystem::path(where).stem().string();
  if (file.seeds.empty() && file.list.empty() && file.pairs.empty() && file.grid.empty()) {
    config::fail(where, "nothing varies in this sweep: give it grid, list, pairs or seeds");
  }
  return file;
}

SweepFile read_sweep(const std::filesystem::path& file) {
  if (std::filesystem::is_directory(file)) config::fail(file.string(), "this is a folder, give a sweep's YAML file");
  if (!std::filesystem::exists(file)) config::fail(file.string(), "no such file" + config::near_file(file));
  try {
    return parse_sweep(read_text(file), file.string());
  } catch (const CheckpointError& error) {
    throw ConfigError(error.what());
  }
}

}  // namespace lmnet::sweep
