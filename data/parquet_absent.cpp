#include <fmt/format.h>

#include "data/errors.h"
#include "data/row_reader.h"

namespace lmnet {

std::unique_ptr<RowReader> open_parquet(const std::filesystem::path& file, const std::set<std::string>&) {
  throw DataError(fmt::format(
      "{}: this LMNet was built without Parquet: install Arrow by launch/setup, or put the folder of a pyarrow "
      "wheel into CMAKE_PREFIX_PATH, and build LMNet again with launch/build",
      file.string()));
}

}  // namespace lmnet
