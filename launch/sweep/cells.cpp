#include "launch/sweep/cells.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <functional>
#include <map>
#include <set>
#include <span>

#include "trainer/checkpoint/crc32c.h"
#include "trainer/config/words.h"

namespace lmnet::sweep {
namespace {

const std::string kSeed = "run.seed";
/// Longer labels are cut: file systems take names of 255 bytes.
constexpr size_t kLongestLabel = 48;

/// One step of a sweep: a value of an axis, an entry of a list, a seed.
struct Choice {
  Settings settings;
  std::vector<std::pair<std::string, std::string>> labels;
  std::optional<std::string> seed;
};
using Choices = std::vector<Choice>;

std::string text_of(const Node& value) {
  return config::to_flow_text(value);
}

const Setting* last_of(const Settings& settings, const std::string& key) {
  const auto found = std::find_if(settings.rbegin(), settings.rend(), [&](const Setting& s) { return s.key == key; });
  return found == settings.rend() ? nullptr : &*found;
}

void add_label(Choice& choice, const Setting& setting, const std::string& name) {
  const std::string label = label_of(setting.value);
  if (setting.key == kSeed) {
    choice.seed = label;
  } else {
    choice.labels.emplace_back(name, label);
  }
}

class Builder {
 public:
  explicit Builder(const SweepFile& file) : file_(file) {
    for (const std::vector<Axis>* axes : {&file.pairs, &file.grid})
      for (const Axis& axis : *axes) add_key(axis.key, axis.where);
    std::set<std::string> listed;
    for (const Entry& entry : file.list)
      for (const Setting& setting : entry.settings)
        if (listed.insert(setting.key).second) add_key(setting.key, setting.value.where);
    if (!file.seeds.empty()) add_key(kSeed, file.where);
    const std::vector<std::string> names = short_keys(keys_);
    for (size_t i = 0; i < keys_.size(); ++i) short_[keys_[i]] = names[i];
  }

  std::vector<Cell> cells() {
    std::vector<Choices> dimensions = {seeds(), list(), pairs()};
    for (const Axis& axis : file_.grid) dimensions.push_back(values(axis));
    std::vector<Cell> cells = {first()};
    for (const Choices& choices : dimensions)
      if (!choices.empty()) cells = times(cells, choices);
    check_conditions(cells);
    for (Cell& cell : cells) apply_rules(cell);
    std::erase_if(cells, [&](const Cell& cell) { return std::ranges::any_of(file_.skip, holds_for(cell)); });
    if (cells.empty()) config::fail(file_.where, "skip leaves no cell of this sweep");
    for (Cell& cell : cells) name(cell);
    return prepared(std::move(cells));
  }

 private:
  void add_key(const std::string& key, const std::string& where) {
    if (std::ranges::find(keys_, key) != keys_.end())
      config::fail(where, fmt::format("{} varies in two places of this sweep, keep one of them", key));
    keys_.push_back(key);
  }

  Cell first() const {
    Cell cell;
    cell.base = file_.base;
    cell.ranks = file_.ranks;
    cell.settings = file_.set;
    return cell;
  }

  Choices seeds() const {
    Choices choices;
    for (int64_t seed : file_.seeds) {
      Node value = Node::plain(std::to_string(seed));
      value.where = file_.where;
      add_label(choices.emplace_back(Choice{{{kSeed, value}}, {}, {}}), {kSeed, value}, "");
    }
    return choices;
  }

  Choices list() const {
    Choices choices;
    for (const Entry& entry : file_.list) {
      Choice& choice = choices.emplace_back(Choice{entry.settings, {}, {}});
      for (const Setting& setting : entry.settings)
        if (entry.name.empty() || setting.key == kSeed) add_label(choice, setting, short_.at(setting.key));
      if (!entry.name.empty()) choice.labels.emplace_back("", entry.name);
    }
    return choices;
  }

  /// Keys that go together are told apart by the first of them, if its values differ.
  Choices pairs() const {
    Choices choices;
    if (file_.pairs.empty()) return choices;
    std::set<std::string> different;
    for (const Node& value : file_.pairs.front().values) different.insert(label_of(value));
    const bool one_tells = different.size() == file_.pairs.front().values.size();
    for (size_t i = 0; i < file_.pairs.front().values.size(); ++i) {
      Choice& choice = choices.emplace_back();
      for (const Axis& axis : file_.pairs) {
        const Setting& setting = choice.settings.emplace_back(Setting{axis.key, axis.values[i]});
        const bool first = &axis == &file_.pairs.front();
        if (first || !one_tells || axis.key == kSeed) add_label(choice, setting, short_.at(axis.key));
      }
    }
    return choices;
  }

  Choices values(const Axis& axis) const {
    Choices choices;
    for (const Node& value : axis.values)
      add_label(choices.emplace_back(Choice{{{axis.key, value}}, {}, {}}), {axis.key, value}, short_.at(axis.key));
    return choices;
  }

  static std::vector<Cell> times(const std::vector<Cell>& cells, const Choices& choices) {
    std::vector<Cell> all;
    for (const Cell& cell : cells)
      for (const Choice& choice : choices) {
        Cell& made = all.emplace_back(cell);
        made.settings.insert(made.settings.end(), choice.settings.begin(), choice.settings.end());
        made.labels.insert(made.labels.end(), choice.labels.begin(), choice.labels.end());
        if (choice.seed) made.seed = choice.seed;
      }
    return all;
  }

  static std::function<bool(const Condition&)> holds_for(const Cell& cell) {
    return [&cell](const Condition& condition) {
      return std::ranges::all_of(condition, [&](const Axis& asked) {
        const Setting* given = last_of(cell.settings, asked.key);
        return given != nullptr && std::ranges::any_of(asked.values, [&](const Node& value) {
                 return text_of(value) == text_of(given->value);
               });
      });
    };
  }

  void apply_rules(Cell& cell) const {
    for (const Rule& rule : file_.when)
      if (holds_for(cell)(rule.is)) cell.settings.insert(cell.settings.end(), rule.set.begin(), rule.set.end());
  }

  /// A condition on a key, or a value, that no cell has would silently never hold.
  void check_conditions(const std::vector<Cell>& cells) const {
    std::map<std::string, std::set<std::string>> given;
    const auto add = [&](const Settings& settings) {
      for (const Setting& setting : settings) given[setting.key].insert(text_of(setting.value));
    };
    for (const Cell& cell : cells) add(cell.settings);
    for (const Rule& rule : file_.when) {
      require(rule.is, given);
      add(rule.set);
    }
    for (const Condition& condition : file_.skip) require(condition, given);
  }

  static void require(const Condition& condition, const std::map<std::string, std::set<std::string>>& given) {
    std::vector<std::string> keys;
    for (const auto& [key, values] : given) keys.push_back(key);
    for (const Axis& asked : condition) {
      const auto found = given.find(asked.key);
      if (found == given.end())
        config::fail(asked.where, fmt::format("no cell sets {}{}; conditions look at what this sweep sets: {}",
                                              asked.key, config::did_you_mean(asked.key, keys), fmt::join(keys, ", ")));
      for (const Node& value : asked.values)
        if (!found->second.contains(text_of(value)))
          config::fail(asked.where, fmt::format("no cell has {} {}, they have {}", asked.key, text_of(value),
                                                fmt::join(found->second, ", ")));
    }
  }

  static std::string joined(const std::vector<std::pair<std::string, std::string>>& labels) {
    std::vector<std::string> parts;
    for (const auto& [key, label] : labels) parts.push_back(key.empty() ? label : key + "=" + label);
    return fmt::format("{}", fmt::join(parts, ","));
  }

  void name(Cell& cell) const {
    cell.group = joined(cell.labels);
    std::vector<std::string> parts;
    if (!cell.group.empty()) parts.push_back(cell.group);
    if (cell.seed) parts.push_back("seed=" + *cell.seed);
    cell.name = fmt::format("{}", fmt::join(parts, ","));
    if (cell.group.empty()) cell.group = file_.name;
  }

  /// Gives each cell what it needs; the runs that are made first come first.
  std::vector<Cell> prepared(std::vector<Cell> cells) const {
    std::vector<Cell> all;
    for (const Preparation& preparation : file_.prepare) {
      for (Cell& cell : cells) {
        if (last_of(cell.settings, preparation.as) != nullptr) continue;  // it has its own
        Cell made = preparation_of(preparation, cell);
        cell.needs.push_back({made.name, preparation.as});
        const auto same = [&](const Cell& other) { return other.name == made.name; };
        if (std::ranges::none_of(all, same)) all.push_back(std::move(made));
      }
    }
    all.insert(all.end(), std::make_move_iterator(cells.begin()), std::make_move_iterator(cells.end()));
    require_own_names(all);
    return all;
  }

  Cell preparation_of(const Preparation& preparation, const Cell& cell) const {
    Cell made;
    made.prepares = true;
    made.base = preparation.base.empty() ? file_.base : preparation.base;
    made.ranks = preparation.ranks == 0 ? file_.ranks : preparation.ranks;
    // Of the sweep's own base it takes what all cells take.
    if (preparation.base.empty()) made.settings = file_.set;
    const std::vector<std::string> names = short_keys(preparation.each);
    made.labels.emplace_back("", preparation.name);
    for (size_t i = 0; i < preparation.each.size(); ++i) {
      const Setting* setting = last_of(cell.settings, preparation.each[i]);
      if (setting == nullptr)
        config::fail(preparation.where, fmt::format("prepare.{}.each: cell {} does not set {}", preparation.name,
                                                    cell.name, preparation.each[i]));
      made.settings.push_back(*setting);
      made.labels.emplace_back(names[i], label_of(setting->value));
    }
    made.settings.insert(made.settings.end(), preparation.set.begin(), preparation.set.end());
    made.name = made.group = joined(made.labels);
    return made;
  }

  void require_own_names(const std::vector<Cell>& cells) const {
    std::set<std::string> names = {"sweep"};  // the folder of the sweep's own files
    for (const Cell& cell : cells)
      if (!names.insert(cell.name).second)
        config::fail(file_.where, fmt::format("two runs of this sweep would be called {}: give one another value, or "
                                              "write them as a list of entries with a name",
                                              cell.name));
  }

  const SweepFile& file_;
  std::vector<std::string> keys_;             // all that vary
  std::map<std::string, std::string> short_;  // what stands for them in names
};

}  // namespace

std::vector<Cell> cells_of(const SweepFile& file) {
  return Builder(file).cells();
}

std::string argument_of(const Setting& setting) {
  return setting.key + "=" + text_of(setting.value);
}

std::string label_of(const Node& value) {
  std::string text = value.kind == Node::Kind::scalar ? value.text : text_of(value);
  if (value.kind == Node::Kind::scalar && text.find('/') != std::string::npos) {
    while (text.size() > 1 && text.ends_with('/')) text.pop_back();
    text = text.substr(text.rfind('/') + 1);
  }
  std::string label;
  for (char letter : text) {
    const auto byte = static_cast<unsigned char>(letter);
    if (std::isalnum(byte) || byte >= 0x80 || letter == '.' || letter == '-' || letter == '_' || letter == '+') {
      label += letter;
    } else if (letter == ':' || letter == '/') {
      label += '-';
    } else if (letter == ',') {
      label += '+';
    }
  }
  if (label.size() > kLongestLabel) {
    const uint32_t hash = crc32c(std::as_bytes(std::span(text)));
    size_t end = kLongestLabel - 9;
    while (end > 0 && (static_cast<unsigned char>(label[end]) & 0xc0) == 0x80) --end;  // no half letter of UTF-8
    label = fmt::format("{}~{:08x}", label.substr(0, end), hash);
  }
  return label.empty() ? "none" : label;
}

std::vector<std::string> short_keys(const std::vector<std::string>& keys) {
  /// The last `parts` names of a path, brackets left out.
  const auto end_of = [](const std::string& key, int parts) {
    size_t begin = key.size();
    for (int i = 0; i < parts && begin != std::string::npos && begin > 0; ++i) begin = key.rfind('.', begin - 1);
    std::string end = begin == std::string::npos ? key : key.substr(begin + 1);
    std::erase_if(end, [](char letter) { return letter == '[' || letter == ']'; });
    return end;
  };
  std::vector<std::string> result;
  for (const std::string& key : keys) {
    int parts = 1;
    const auto shared = [&](const std::string& other) {
      return other != key && end_of(other, parts) == end_of(key, parts);
    };
    while (parts < 8 && std::ranges::any_of(keys, shared)) ++parts;
    result.push_back(end_of(key, parts));
  }
  return result;
}

}  // namespace lmnet::sweep
