#include "data/source_registry.h"

#include "data/json_file.h"
#include "data/yaml_map.h"

namespace lmnet {
namespace {

Paths parse_paths(const YamlValue& value) {
  if (!value.is_list()) return value.text();
  std::vector<std::string> paths;
  for (const YamlValue& path : value.list()) paths.push_back(path.text());
  if (paths.empty()) value.fail("is empty");
  return paths;
}

SourceRegistry::Entry parse_entry(const YamlValue& value, const Formats& formats) {
  value.allow({"path", "format", "columns"});
  const YamlValue format = value.at("format");
  SourceRegistry::Entry entry{
      parse_paths(value.at("path")),
      format.is_map() ? parse_format_yaml(format) : format.checked([&] { return formats.get(format.text()); })};
  const auto columns = value.find("columns");
  if (!columns) return entry;
  std::map<std::string, std::string> named;
  for (const auto& [name, column] : columns->map()) named.emplace(name, column.text());
  entry.format = columns->checked([&] { return entry.format.with_columns(named); });
  return entry;
}

}  // namespace

SourceRegistry::SourceRegistry(const std::filesystem::path& file, const Formats& formats) {
  for (const auto& [name, value] : YamlValue::parse(whole_file(file), file.string()).map())
    entries_.emplace(name, parse_entry(value, formats));
}

const SourceRegistry::Entry* SourceRegistry::find(const std::string& name) const {
  const auto found = entries_.find(name);
  return found == entries_.end() ? nullptr : &found->second;
}

std::vector<std::string> SourceRegistry::names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

}  // namespace lmnet
