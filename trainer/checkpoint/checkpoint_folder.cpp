#include "trainer/checkpoint/checkpoint_folder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <system_error>
#include <utility>

#include "trainer/checkpoint/errors.h"
#include "trainer/checkpoint/file_io.h"
#include "trainer/checkpoint/reference.h"
#include "trainer/checkpoint/tensor_file_reader.h"

namespace lmnet {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view prefix = "step-", frozen_prefix = "frozen-";

/// The update of a folder name, or nothing if it is not one.
std::optional<int64_t> update_of(const std::string& name) {
  int64_t update = 0;
  if (name.starts_with(prefix)) {
    std::from_chars(name.data() + prefix.size(), name.data() + name.size(), update);
  }
  return folder_name(update) == name ? std::optional(update) : std::nullopt;
}

std::vector<std::string> names_in(const fs::path& dir) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(dir, error), end; !error && entry != end; entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    throw_file_error("read", dir, error.value());
  }
  return names;
}

/// What the hidden name (`.step-000001000.tmp`) of something unfinished belongs to: a checkpoint, the shared copy of
/// frozen weights, a link.
std::optional<fs::path> path_of_hidden(const fs::path& dir, const std::string& name) {
  const auto stem = fs::path(name).stem().string();
  if (!stem.starts_with('.')) return std::nullopt;
  const auto own = stem.substr(1);
  const bool ours = update_of(own) || own.starts_with(frozen_prefix) || own == "latest" || own == "best";
  return ours ? std::optional(dir / own) : std::nullopt;
}

}  // namespace

std::string folder_name(int64_t update) {
  return fmt::format("{}{:09}", prefix, update);
}

std::string frozen_name(int64_t update) {
  return fmt::format("{}{:09}", frozen_prefix, update);
}

std::vector<fs::path> list_frozen(const fs::path& dir) {
  std::vector<fs::path> found;
  for (const auto& name : names_in(dir))
    if (name.starts_with(frozen_prefix)) found.push_back((dir / name).lexically_normal());
  return found;
}

std::vector<fs::path> step_folders(const fs::path& dir) {
  std::vector<std::pair<int64_t, fs::path>> found;
  for (const auto& name : names_in(dir)) {
    if (const auto update = update_of(name)) {
      found.emplace_back(*update, dir / name);
    }
  }
  std::ranges::sort(found, std::greater{});
  std::vector<fs::path> folders;
  for (auto& [update, folder] : found) {
    folders.push_back(std::move(folder));
  }
  return folders;
}

void restore_replaced(const fs::path& dir) {
  for (const auto& name : names_in(dir)) {
    const auto folder = path_of_hidden(dir, name);
    if (folder && dir / name == replaced_name(*folder) && !path_exists(*folder)) {
      rename_path(dir / name, *folder);
    }
  }
}

std::vector<fs::path> list_checkpoints(const fs::path& dir) {
  auto folders = step_folders(dir);
  std::erase_if(folders, [](const fs::path& folder) { return !path_exists(folder / manifest_name); });
  return folders;
}

void clean_partial(const fs::path& dir) {
  restore_replaced(dir);
  for (const auto& name : names_in(dir)) {
    const auto folder = path_of_hidden(dir, name);
    if (folder && (dir / name == temporary_name(*folder) || dir / name == replaced_name(*folder))) {
      remove_path(dir / name);
    }
  }
}

fs::path set_aside(const fs::path& folder) {
  const fs::path aside = folder.parent_path() / ("damaged-" + folder.filename().string());
  remove_path(aside);
  rename_path(folder, aside);
  return aside;
}

std::optional<std::string> damage_of(const fs::path& folder, const ManifestFile& file, bool verify) {
  const auto path = folder / file.name;
  std::error_code error;
  const uint64_t bytes = fs::file_size(path, error);
  if (error) return fmt::format("{}: {}", path.string(), error.message());
  if (bytes < file.bytes) return fmt::format("{}: {} bytes missing", path.string(), file.bytes - bytes);
  if (bytes > file.bytes) return fmt::format("{}: {} bytes too many", path.string(), bytes - file.bytes);
  if (verify && digest(path).crc32c != file.crc32c)
    return fmt::format("{}: damaged, its bytes do not match their checksum", path.string());
  return std::nullopt;
}

Manifest open_checkpoint(const fs::path& folder, bool verify) {
  if (!path_exists(folder / manifest_name)) {
    throw CheckpointError(path_exists(folder) ? fmt::format("{}: {} is missing, so it is no complete checkpoint",
                                                            folder.string(), manifest_name)
                                              : fmt::format("there is no checkpoint {}", folder.string()));
  }
  auto manifest = read_manifest(folder / manifest_name);
  if (const auto update = update_of(folder.filename().string()); update && *update != manifest.update)
    throw CheckpointError(
        fmt::format("{}: it is that of update {}", (folder / manifest_name).string(), manifest.update));
  std::vector<std::string> damages;
  for (const auto& file : manifest.files)
    if (auto damage = damage_of(folder, file, verify)) damages.push_back(std::move(*damage));
  if (!damages.empty()) throw CheckpointError(fmt::format("{}", fmt::join(damages, "; ")));
  for (const auto& [name, reference] : manifest.references) check_reference(folder, reference, verify);
  return manifest;
}

}  // namespace lmnet
