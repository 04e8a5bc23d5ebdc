#include "trainer/config/config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "data/shuffle.h"
#include "model/graph/errors.h"
#include "trainer/config/presets.h"
#include "trainer/config/schema.h"
#include "trainer/config/words.h"

namespace lmnet {
namespace {

using config::KeyInfo;
using config::Node;

Config read_config(const std::string& yaml, const std::string& where, std::span<const std::string> overrides,
                   const std::string& default_name) {
  Node tree = config::read_file_text(yaml, where);
  for (const std::string& argument : overrides) config::apply_override(tree, argument);
  const auto schema = config::config_schema();
  config::check_keys(tree, schema.keys());
  config::apply_preset(tree);
  Config result;
  schema.read(result, tree, "");
  result.where = where;
  if (result.model.where.empty()) result.model.where = where;
  if (result.run.name.empty()) result.run.name = default_name;
  return result;
}

using Values = std::vector<std::pair<std::string, std::string>>;  // key path and value on one line

void flatten(const Node& node, const std::string& path, Values& values) {
  const bool of_maps = !node.items.empty() && node.items.front().kind == Node::Kind::map;
  if (node.kind == Node::Kind::map && !node.items.empty()) {
    for (const Node& item : node.items) flatten(item, config::join(path, item.key), values);
  } else if (node.kind == Node::Kind::list && of_maps) {
    for (size_t i = 0; i < node.items.size(); ++i) flatten(node.items[i], config::join(path, i), values);
  } else {
    values.emplace_back(path, config::to_flow_text(node));
  }
}

bool may_change_on_resume(const std::string& key) {
  static const std::vector<std::string> sections = {"parallel.", "checkpoint.", "log.", "evaluate.", "train.spike."};
  static const std::vector<std::string> keys = {
      "train.micro_batch", "train.on_nan", "train.on_spike", "train.skip_limit",   "run.time_limit",       "run.name",
      "run.dir",           "run.resume",   "data.readers",   "data.on_bad_record", "data.bad_record_limit"};
  const auto begins = [&](const std::string& section) { return key.starts_with(section); };
  return std::ranges::any_of(sections, begins) || std::ranges::find(keys, key) != keys.end() ||
         (key.starts_with("train.stages[") && key.ends_with(".until"));
}

/// What moves with the length of a stage that had one.
std::string also_moved(const ConfigDifference& difference, const Config& now) {
  for (size_t i = 0; i < now.train.stages.size(); ++i) {
    const std::string stage = fmt::format("train.stages[{}].", i);
    if (difference.key != stage + "until" || difference.old_value == "not given" ||
        now.train.stages[i].schedule == ScheduleKind::constant)
      continue;
    const Values values = values_of(now);
    const auto schedule = std::ranges::find(values, stage + "schedule", &Values::value_type::first);
    return fmt::format("; unless the stage is over, the end of its {} schedule moves with it, and so do its learning rates",
                       schedule->second);
  }
  return "";
}

}  // namespace

Config load_config(const std::filesystem::path& file, std::span<const std::string> overrides) {
  if (std::filesystem::is_directory(file))
    throw ConfigError(fmt::format("{}: this is a folder, give a YAML file", file.string()));
  std::ifstream stream(file, std::ios::binary);
  if (!stream) {
    const bool exists = std::filesystem::exists(file);
    throw ConfigError(fmt::format("{}: {}", file.string(),
                                  exists ? "this file may not be read" : "no such file" + config::near_file(file)));
  }
  std::ostringstream text;
  text << stream.rdbuf();
  return read_config(text.str(), file.string(), overrides, file.stem().string());
}

Config parse_config(const std::string& yaml, const std::string& where, std::span<const std::string> overrides) {
  return read_config(yaml, where, overrides, "run");
}

void require_trainable(const Config& config) {
  const auto schema = config::config_schema();
  const Values values = values_of(config);
  std::vector<std::string> missing;
  for (const KeyInfo& key : schema.keys()) {
    if (key.need != config::Need::to_train) continue;
    const auto gives = [&](const auto& value) {
      const bool below = value.first.starts_with(key.path + ".") || value.first.starts_with(key.path + "[");
      return below || (value.first == key.path && value.second != "[]");
    };
    if (std::ranges::none_of(values, gives)) missing.push_back(fmt::format("{} ({})", key.path, key.allowed));
  }
  if (!missing.empty()) config::fail(config.where, fmt::format("training needs {}", fmt::join(missing, ", ")));
  if (config.evaluate.every && config.data.validation.empty()) {
    config::fail(config.where, fmt::format("evaluate.every is {} but there is no data.validation, name its files there",
                                           to_string(*config.evaluate.every)));
  }
}

std::string to_yaml(const Config& config) {
  return config::to_block_text(config::config_schema().write(config));
}

Values values_of(const Config& config) {
  Values values;
  flatten(config::config_schema().write(config), "", values);
  return values;
}

std::vector<ConfigDifference> compare_on_resume(const Config& saved, const Config& now) {
  const Values old_values = values_of(saved), new_values = values_of(now);
  const auto value_of = [](const Values& values, const std::string& key) -> std::string {
    const auto found = std::ranges::find(values, key, &Values::value_type::first);
    return found == values.end() ? "not given" : found->second;
  };
  // A run goes on through stages that are added behind its own.
  const size_t stages = saved.train.stages.size();
  const auto is_added_stage = [&](const std::string& key) {
    constexpr std::string_view kStages = "train.stages[";
    return key.starts_with(kStages) && std::strtoull(key.c_str() + kStages.size(), nullptr, 10) >= stages;
  };
  std::vector<ConfigDifference> differences;
  const auto add = [&](const std::string& key) {
    const std::string before = value_of(old_values, key), after = value_of(new_values, key);
    if (before == after) return;
    differences.push_back({key, before, after, may_change_on_resume(key) || is_added_stage(key)});
  };
  for (const auto& [key, value] : old_values) add(key);
  for (const auto& [key, value] : new_values) {
    if (value_of(old_values, key) == "not given") add(key);
  }
  return differences;
}

std::string identity_hash(const Config& config) {
  std::string identity;
  for (const auto& [key, value] : values_of(config))
    if (!may_change_on_resume(key)) identity += fmt::format("{}: {}\n", key, value);
  return fmt::format("{:016x}", hash_of(identity));
}

std::vector<std::string> changes_on_resume(const Config& saved, const Config& now, const std::string& origin) {
  std::vector<std::string> changed, refused;
  for (const ConfigDifference& difference : compare_on_resume(saved, now))
    (difference.allowed ? changed : refused)
        .push_back(fmt::format("{}: {} → {}{}", difference.key, difference.old_value, difference.new_value,
                               difference.allowed ? also_moved(difference, now) : ""));
  if (!refused.empty())
    throw ConfigError(
        fmt::format("{}: {} is of a run with another config: {}; take these changes back, or begin a new run with "
                    "another run.name and without this run.resume",
                    now.where, origin, fmt::join(refused, ", ")));
  return changed;
}

}  // namespace lmnet
