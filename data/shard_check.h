#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "data/format.h"

namespace lmnet {

/// Looks at the beginning and the end of files, without reading them, for what cannot be right: a file that cannot be
/// opened, is empty or cut off, or is not what its name says. Throws DataError, which names one and says how many.
/// Returns warnings, those that are alike as one.
std::vector<std::string> check_shards(const std::vector<std::filesystem::path>& files, const Format& format);

/// The files that are in both lists, whatever way they are written.
std::vector<std::filesystem::path> files_in_both(const std::vector<std::filesystem::path>& files,
                                                 const std::vector<std::filesystem::path>& others);

}  // namespace lmnet
