#include "trainer/data_words.h"

#include <fmt/format.h>

#include "model/graph/errors.h"
#include "trainer/config/config.h"
#include "trainer/sources.h"

namespace lmnet {

Source source_of(const std::string& path, const DataWords& words) {
  DataConfig data;
  data.formats = words.formats;
  data.registry = words.registry;
  SourceConfig source;
  source.where = "the command line";
  if (!words.format.empty()) {
    source.path = {path};
    source.format = words.format;
  } else if (!words.registry.empty()) {
    source.name = path;
  } else {
    throw ConfigError(fmt::format("{} is taken for raw data, which needs --format (c4, alpaca, …)", path));
  }
  return sources(data, {source}).front();
}

}  // namespace lmnet
