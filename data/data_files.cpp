#include "data/data_files.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <glob.h>
#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <set>

#include "data/errors.h"
#include "data/record_reader.h"

namespace lmnet {
namespace {

namespace fs = std::filesystem;

bool is_dangling(const fs::directory_entry& entry) {
  std::error_code ignored;
  return entry.is_symlink(ignored) && !entry.exists(ignored);
}

/// The same for all names of a file, those by links among them.
std::string identity_of(const fs::path& file) {
  struct stat found {};
  if (stat(file.c_str(), &found) == 0 && found.st_nlink > 1)
    return fmt::format("{} {} {}", found.st_dev, found.st_ino, found.st_size);
  return fs::weakly_canonical(file).string();
}

std::vector<fs::path> files_in(const std::string& folder) {
  constexpr std::array kinds = {".json", ".jsonl", ".ndjson", ".txt", ".csv", ".tsv", ".parquet"};
  std::vector<fs::path> files;
  std::error_code error;
  fs::recursive_directory_iterator entries(folder, fs::directory_options::follow_directory_symlink, error);
  for (; !error && entries != fs::recursive_directory_iterator(); entries.increment(error)) {
    const std::string name = entries->path().filename().string();
    if (name.starts_with('.')) {
      if (entries->is_directory()) entries.disable_recursion_pending();
      continue;
    }
    const std::string kind = kind_of_name(name);
    const bool of_data = std::ranges::find(kinds, kind) != kinds.end();
    if ((of_data || kind.empty()) && is_dangling(*entries))
      throw DataError(fmt::format("{}: is a link to {}, which is not there; fetch that, or remove the link",
                                  entries->path().string(), fs::read_symlink(entries->path()).string()));
    if (of_data && entries->is_regular_file()) files.push_back(entries->path());
  }
  if (error) throw DataError(fmt::format("{}: cannot be read: {}", folder, error.message()));
  if (files.empty())
    throw DataError(fmt::format("{}: there is no file in it whose name ends in {} (or that and .gz or .zst)", folder,
                                fmt::join(kinds, ", ")));
  return files;
}

std::vector<fs::path> files_of(const std::string& pattern) {
  std::error_code ignored;
  if (fs::is_directory(pattern, ignored)) return files_in(pattern);
  // A file of exactly this name wins, so that brackets in a name do no harm.
  if (fs::exists(pattern, ignored)) return {pattern};

  glob_t found{};
  std::vector<fs::path> files;
  if (glob(pattern.c_str(), GLOB_NOSORT, nullptr, &found) == 0)
    files.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  globfree(&found);
  std::erase_if(files, [&](const fs::path& file) { return fs::is_directory(file, ignored); });
  if (files.empty()) {
    const bool is_glob = pattern.find_first_of("*?[") != std::string::npos;
    throw DataError(fmt::format("{}: {}", pattern, is_glob ? "no file has such a name" : "there is no such file"));
  }
  return files;
}

}  // namespace

std::string Paths::text() const {
  return fmt::format("{}", fmt::join(all_, ", "));
}

std::vector<fs::path> expand(const Paths& paths) {
  std::vector<fs::path> all;
  std::set<std::string> seen;
  for (const std::string& pattern : paths.all()) {
    std::vector<fs::path> files = files_of(pattern);
    std::ranges::sort(files);
    for (fs::path& file : files)
      if (seen.insert(identity_of(file)).second) all.push_back(std::move(file));
  }
  return all;
}

void read_records(const fs::path& file, const Format& format, const std::function<bool(int64_t, Record&&)>& take) {
  RecordReader reader(file, format);
  for (Record record; reader.next(record);)
    if (!take(reader.cursor().record - 1, std::move(record))) return;
}

std::string kind_of_name(fs::path file) {
  if (file.extension() == ".gz" || file.extension() == ".zst") file = file.stem();
  std::string ending = file.extension().string();
  std::ranges::transform(ending, ending.begin(), [](unsigned char c) { return std::tolower(c); });
  return ending;
}

}  // namespace lmnet
