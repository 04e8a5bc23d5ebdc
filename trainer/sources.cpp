#include "trainer/sources.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "data/errors.h"
#include "data/format_spec.h"
#include "data/shard_check.h"
#include "data/source_registry.h"
#include "data/token_index.h"
#include "model/graph/errors.h"
#include "trainer/config/words.h"

namespace lmnet {
namespace {

/// What `make` gives; what is wrong with it is wrong in the config.
template <typename Make>
auto of_config(const std::string& where, Make&& make) {
  try {
    return make();
  } catch (const DataError& error) {
    throw ConfigError(where.empty() ? error.what() : fmt::format("{}: {}", where, error.what()));
  }
}

/// files_of(), with the place that names them where there are none.
std::vector<std::filesystem::path> files_of(const Source& source, const std::string& where) {
  try {
    return files_of(source);
  } catch (const DataError& error) {
    throw DataError(where.empty() ? error.what() : fmt::format("{}: {}", where, error.what()));
  }
}

[[noreturn]] void fail_name(const SourceConfig& source, const std::string& name, const std::string& kind,
                            const std::vector<std::string>& names) {
  throw ConfigError(fmt::format("{}: there is no {} \"{}\", expected {}{}", source.where, kind, name,
                                config::any_of(names), config::did_you_mean(name, names)));
}

/// Finds the formats and places of sources.
class Finder {
 public:
  explicit Finder(const DataConfig& data) {
    of_config("", [&] {
      if (!data.formats.empty()) formats_.add(data.formats);
      if (!data.registry.empty()) registry_.emplace(data.registry, formats_);
    });
  }

  SourceRegistry::Entry find(const SourceConfig& source) const {
    if (source.name.empty())
      return {source.path, of_config(source.where, [&] { return format_of(source).with_columns(source.columns); })};
    if (!registry_)
      throw ConfigError(
          fmt::format("{}: \"{}\" is the name of a source, and data.registry, where such names stand, is "
                      "not given",
                      source.where, source.name));
    const SourceRegistry::Entry* entry = registry_->find(source.name);
    if (!entry) fail_name(source, source.name, "source", registry_->names());
    return *entry;
  }

 private:
  Format format_of(const SourceConfig& source) const {
    if (!source.format_json.empty())
      return of_config("", [&] { return parse_format_yaml(source.format_json, source.where); });
    const std::vector<std::string> names = formats_.names();
    if (std::ranges::find(names, source.format) == names.end()) fail_name(source, source.format, "format", names);
    return formats_.get(source.format);
  }

  Formats formats_;
  std::optional<SourceRegistry> registry_;
};

}  // namespace

std::vector<Source> sources(const DataConfig& data, const std::vector<SourceConfig>& config) {
  const Finder finder(data);
  std::vector<Source> sources;
  for (const SourceConfig& source : config) {
    auto [path, format] = finder.find(source);
    if (!format.prepared() && std::ranges::any_of(path.all(), TokenIndex::is_in))
      throw ConfigError(fmt::format("{}: {} holds prepared data, which is of the format prepared, not {}", source.where,
                                    path.text(), format.spec().name));
    if (data.skip_bad_records) format = format.skipping_bad_records(data.bad_record_limit);
    Source& added = sources.emplace_back(Source{std::move(path), std::move(format), source.weight});
    added.name = source.name;
    if (source.epochs > 0) added.epochs = source.epochs;
    if (source.tokens.value > 0) added.tokens = static_cast<int64_t>(source.tokens.value);
  }
  return sources;
}

std::vector<std::filesystem::path> files_of(const Source& source) {
  if (source.format.prepared()) return {TokenIndex::folder_of(source.path) / TokenIndex::file_name};
  return expand(source.path);
}

bool masks(const Source& source) {
  if (!source.format.prepared()) return source.format.masks();
  const std::string& folder = source.path.all().front();
  return TokenIndex::is_in(folder) && TokenIndex::read(folder).masks;
}

std::vector<std::string> check_files(const DataConfig& data) {
  std::vector<std::string> warnings;
  std::vector<std::filesystem::path> train, validation;
  const auto look = [&](const std::vector<SourceConfig>& config, std::vector<std::filesystem::path>& all) {
    const std::vector<Source> found = sources(data, config);
    for (size_t i = 0; i < found.size(); ++i) {
      const Source& source = found[i];
      const std::vector<std::filesystem::path> files = files_of(source, config[i].where);
      if (!source.format.prepared())
        std::ranges::move(check_shards(files, source.format), std::back_inserter(warnings));
      all.insert(all.end(), files.begin(), files.end());
    }
  };
  look(data.train, train);
  look(data.validation, validation);
  const auto both = files_in_both(train, validation);
  if (!both.empty())
    warnings.push_back(
        fmt::format("data.validation reads {} of the files that data.train reads ({}{}): the validation "
                    "loss will tell little",
                    both.size(), both.front().string(), both.size() > 1 ? ", …" : ""));
  return warnings;
}

}  // namespace lmnet
