#pragma once
#include <string>

#include "data/loader.h"

namespace lmnet {

/// What the command line says of data that no config describes, in the words of `data` in a config.
struct DataWords {
  std::string format, formats, registry;
  std::string tokenizer;

  bool empty() const { return format.empty() && formats.empty() && registry.empty() && tokenizer.empty(); }
};

/// The source that `path` and the words describe; without a format, that with the name `path` in the registry. Throws
/// ConfigError where they do not say enough.
Source source_of(const std::string& path, const DataWords& words);

}  // namespace lmnet
