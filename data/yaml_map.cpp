#include "data/yaml_map.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

namespace lmnet {

YamlValue YamlValue::parse(const std::string& yaml, const std::string& source) {
  try {
    YamlValue value(YAML::Load(yaml), source, "");
    if (!value.node_.IsMap()) value.fail("is no mapping of names");
    return value;
  } catch (const YAML::Exception& error) {
    throw DataError(fmt::format("{}:{}: this is not valid YAML ({})", source, error.mark.line + 1, error.msg));
  }
}

const std::string& YamlValue::text() const {
  if (!node_.IsScalar()) fail("is no text");
  return node_.Scalar();
}

bool YamlValue::flag() const {
  if (text() != "true" && text() != "false") fail("is neither true nor false");
  return text() == "true";
}

std::vector<YamlValue> YamlValue::list() const {
  if (!node_.IsSequence()) fail("is no list");
  std::vector<YamlValue> items;
  for (const YAML::Node& item : node_) items.push_back(inner(item, fmt::format("[{}]", items.size())));
  return items;
}

std::vector<std::pair<std::string, YamlValue>> YamlValue::map() const {
  if (!node_.IsMap()) fail("is no mapping");
  std::vector<std::pair<std::string, YamlValue>> entries;
  std::set<std::string> seen;
  for (const auto& entry : node_) {
    if (!entry.first.IsScalar()) fail("has a key that is no word");
    const std::string& key = entry.first.Scalar();
    entries.emplace_back(key, inner(entry.second, path_.empty() ? key : "." + key));
    if (!seen.insert(key).second) entries.back().second.fail("is given twice, keep one of them");
  }
  return entries;
}

std::optional<YamlValue> YamlValue::find(const std::string& key) const {
  for (auto& [name, value] : map())
    if (name == key) return value;
  return std::nullopt;
}

YamlValue YamlValue::at(const std::string& key) const {
  if (auto value = find(key)) return *value;
  fail(fmt::format("lacks the key `{}`", key));
}

void YamlValue::allow(std::initializer_list<std::string> keys) const {
  for (const auto& [key, value] : map())
    if (std::ranges::find(keys, key) == keys.end())
      value.fail(fmt::format("is not known; keys here are {}", fmt::join(keys, ", ")));
}

void YamlValue::fail(const std::string& what) const {
  const int line = node_.Mark().line;
  throw DataError(fmt::format("{}{}: {}{}{}", source_, line < 0 ? "" : fmt::format(":{}", line + 1), path_,
                              path_.empty() || what.starts_with(':') ? "" : " ", what));
}

YamlValue YamlValue::inner(const YAML::Node& node, const std::string& key) const {
  return {node, source_, path_ + key};
}

}  // namespace lmnet
