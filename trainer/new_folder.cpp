#include "trainer/new_folder.h"

#include <fmt/format.h>

#include "model/graph/errors.h"
#include "trainer/checkpoint/file_io.h"

namespace lmnet {

namespace fs = std::filesystem;

NewFolder::NewFolder(fs::path path) : path_(std::move(path)) {
  path_ = fs::absolute(path_);
  if (!path_.has_filename()) path_ = path_.parent_path();  // written with a slash at its end
  if (fs::exists(path_) && !(fs::is_directory(path_) && fs::is_empty(path_)))
    throw ConfigError(fmt::format("{} is there already: name a new folder, or remove it first", path_.string()));
  temporary_ = temporary_name(path_);
  remove_path(temporary_);
  std::error_code error;
  if (fs::create_directories(temporary_, error); error) throw_file_error("make the folder", temporary_, error.value());
}

NewFolder::~NewFolder() {
  std::error_code ignored;
  fs::remove_all(temporary_, ignored);
}

void NewFolder::publish(const fs::path& filled) {
  sync_folder(filled);
  rename_path(filled, path_);  // in place of an empty folder too, but never of one that was filled since
  sync_folder(temporary_.parent_path());
}

}  // namespace lmnet
