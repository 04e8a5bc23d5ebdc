#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "data/data_files.h"
#include "data/format_file.h"

namespace lmnet {

/// Sources that have names, out of a YAML file:
/// `c4-en: {path: /data/c4/en/c4-train.*.json.gz, format: c4, columns: {text: content}}`; `path` may be a list,
/// `format` a mapping as in a file of formats; `columns` says where the data keeps what the format calls so.
class SourceRegistry {
 public:
  struct Entry {
    Paths path;
    Format format;
  };

  /// Throws DataError naming file, line and fault.
  SourceRegistry(const std::filesystem::path& file, const Formats& formats);

  /// Null where there is none.
  const Entry* find(const std::string& name) const;
  std::vector<std::string> names() const;

 private:
  std::map<std::string, Entry> entries_;
};

}  // namespace lmnet
