#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data/format.h"

namespace lmnet {

/// What a source names: a file, a glob or a folder (all files of data in it and its folders), or several of these.
class Paths {
 public:
  Paths(std::string path) : all_{std::move(path)} {}
  Paths(const char* path) : all_{path} {}
  Paths(std::vector<std::string> all) : all_(std::move(all)) {}

  const std::vector<std::string>& all() const { return all_; }
  /// `a, b`
  std::string text() const;

 private:
  std::vector<std::string> all_;
};

/// The files that the paths name, those of each in order, none twice, whatever links lead to it. Throws DataError
/// where one names none, and for a link in a folder that leads nowhere.
std::vector<std::filesystem::path> expand(const Paths& paths);

/// Calls `take(number, record)` for the records of one file, numbered from 0, in order, until it returns false. Throws
/// DataError naming file and record: a missing file, broken compression, bad JSON, a missing field.
void read_records(const std::filesystem::path& file, const Format& format,
                  const std::function<bool(int64_t, Record&&)>& take);

/// A name's ending in small letters, that of the file inside for a compressed one: `.json` of `c4.json.gz`.
std::string kind_of_name(std::filesystem::path file);

}  // namespace lmnet
