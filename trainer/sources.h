#pragma once
#include <vector>

#include "data/loader.h"
#include "trainer/config/config.h"

namespace lmnet {

/// The sources of data.train or data.validation as the loader takes them: names looked up in the files that
/// data.registry and data.formats name. Throws ConfigError.
std::vector<Source> sources(const DataConfig& data, const std::vector<SourceConfig>& config);

/// What there is of a source's files: of prepared data its index. Throws DataError where there are none.
std::vector<std::filesystem::path> files_of(const Source& source);

/// Whether some part of the source's documents is only read, not learnt; false for prepared data that is not there.
bool masks(const Source& source);

/// Looks at all files of data without reading them; returns what to warn of: what looks wrong, and files that are both
/// trained on and evaluated on. Throws DataError for what cannot be right.
std::vector<std::string> check_files(const DataConfig& data);

}  // namespace lmnet
