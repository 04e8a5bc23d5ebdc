#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "data/format.h"

namespace lmnet {

class YamlValue;

/// The formats that have names: those of data/formats.yaml, which come with LMNet, and those of users' files.
class Formats {
 public:
  Formats();

  /// Adds those of a file. Throws DataError naming file, line and fault, also for a name that is taken.
  void add(const std::filesystem::path& file);
  /// Throws DataError.
  const Format& get(const std::string& name) const;
  std::vector<std::string> names() const;

 private:
  std::map<std::string, Format> formats_;
};

/// A format without a name. `where` begins the errors. Throws DataError.
Format parse_format_yaml(const std::string& yaml, const std::string& where);
Format parse_format_yaml(const YamlValue& value);

/// One of those that come with LMNet. Throws DataError.
Format parse_format(const std::string& name);

}  // namespace lmnet
