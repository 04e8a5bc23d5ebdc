#pragma once
#include <vector>

#include "data/loader.h"
#include "trainer/config/config.h"

namespace lmnet {

/// The sources of data.train or data.validation as the loader takes them: names looked up in the files that
/// data.registry and data.formats name. Throws ConfigError.
std::vector<Source> sources(const DataConfig& data, const std::vector<SourceConfig>& config);

/// Looks at all files of data without reading them; returns what to warn of: what looks wrong, and files that are both
/// trained on and evaluated on. Throws DataError for what cannot be right.
std::vector<std::string> check_files(const DataConfig& data);

}  // namespace lmnet
