#include "trainer/checkpoint/checkpoint_folder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <span>
#include <system_error>
#include <utility>

#include "trainer/checkpoint/crc32c.h"
#include "trainer/checkpoint/errors.h"
#include "trainer/checkpoint/file_io.h"

namespace lmnet {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view prefix = "step-";
constexpr const char* manifest_name = "manifest.json";

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

/// All folders with the name of a checkpoint, newest first.
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

/// The checkpoint that the hidden name (`.step-000001000.tmp`) of an unfinished one belongs to.
std::optional<fs::path> folder_of_hidden(const fs::path& dir, const std::string& name) {
  const auto stem = fs::path(name).stem().string();
  return stem.starts_with('.') && update_of(stem.substr(1)) ? std::optional(dir / stem.substr(1)) : std::nullopt;
}

/// Brings checkpoints back whose replacement was killed before it had their name.
void restore_replaced(const fs::path& dir) {
  for (const auto& name : names_in(dir)) {
    const auto folder = folder_of_hidden(dir, name);
    if (folder && dir / name == replaced_name(*folder) && !path_exists(*folder)) {
      rename_path(dir / name, *folder);
    }
  }
}

void check_file(const fs::path& path, const ManifestFile& file, bool verify) {
  std::error_code error;
  const uint64_t bytes = fs::file_size(path, error);
  if (error) {
    throw CheckpointError(fmt::format("{}: {}", path.string(), error.message()));
  }
  if (bytes < file.bytes) {
    throw CheckpointError(fmt::format("{}: {} bytes missing", path.string(), file.bytes - bytes));
  }
  if (bytes > file.bytes) {
    throw CheckpointError(fmt::format("{}: {} bytes too many", path.string(), bytes - file.bytes));
  }
  if (verify && digest(path).crc32c != file.crc32c) {
    throw CheckpointError(fmt::format("{}: damaged, its bytes do not match their checksum", path.string()));
  }
}

}  // namespace

std::string folder_name(int64_t update) {
  return fmt::format("{}{:09}", prefix, update);
}

std::vector<fs::path> list_checkpoints(const fs::path& dir) {
  auto folders = step_folders(dir);
  std::erase_if(folders, [](const fs::path& folder) { return !path_exists(folder / manifest_name); });
  return folders;
}

void clean_partial(const fs::path& dir) {
  restore_replaced(dir);
  for (const auto& name : names_in(dir)) {
    const auto folder = folder_of_hidden(dir, name);
    if (folder && (dir / name == temporary_name(*folder) || dir / name == replaced_name(*folder))) {
      remove_path(dir / name);
    }
  }
}

void keep_newest(const fs::path& dir, int keep, std::optional<int64_t> keep_every, const SavePoint& at_point) {
  const auto folders = list_checkpoints(dir);
  for (size_t i = static_cast<size_t>(std::max(keep, 1)); i < folders.size(); ++i) {
    if (keep_every && *keep_every > 0 && *update_of(folders[i].filename().string()) % *keep_every == 0) {
      continue;
    }
    // Away from the list at once: nobody may find it half removed.
    const auto hidden = temporary_name(folders[i]);
    remove_path(hidden);
    rename_path(folders[i], hidden);
    if (at_point) at_point("save-clean");
    remove_path(hidden);
  }
}

Manifest open_checkpoint(const fs::path& folder, bool verify) {
  if (!path_exists(folder / manifest_name)) {
    throw CheckpointError(path_exists(folder) ? fmt::format("{}: {} is missing, so it is no complete checkpoint",
                                                            folder.string(), manifest_name)
                                              : fmt::format("there is no checkpoint {}", folder.string()));
  }
  auto manifest = read_manifest(folder / manifest_name);
  for (const auto& file : manifest.files) {
    check_file(folder / file.name, file, verify);
  }
  return manifest;
}

void require_shape(const at::Tensor& value, at::IntArrayRef shape, std::string_view what) {
  if (value.sizes() == shape) return;
  throw CheckpointError(fmt::format("{} has the shape [{}], but in this network it is [{}]", what,
                                    fmt::join(value.sizes(), ", "), fmt::join(shape, ", ")));
}

ResumeChoice choose_checkpoint(const fs::path& dir) {
  restore_replaced(dir);
  ResumeChoice choice;
  for (const auto& folder : step_folders(dir)) {
    try {
      open_checkpoint(folder, /*verify=*/true);
      choice.checkpoint = folder;
      return choice;
    } catch (const CheckpointError& error) {
      choice.damaged.emplace_back(error.what());
    }
  }
  if (!choice.damaged.empty()) {
    throw CheckpointError(
        fmt::format("no checkpoint in {} can be resumed from ({}); restore one, or begin anew with "
                    "another run.name",
                    dir.string(), fmt::join(choice.damaged, "; ")));
  }
  return choice;
}

CheckpointReader::CheckpointReader(fs::path folder) : folder_(std::move(folder)), manifest_(open_checkpoint(folder_)) {}

const TensorFileReader& CheckpointReader::file(const std::string& name) const {
  const auto found = files_.find(name);
  return found != files_.end() ? found->second : files_.emplace(name, TensorFileReader(folder_ / name)).first->second;
}

const TensorFileReader& CheckpointReader::file_of(const std::string& tensor) const {
  const auto found = manifest_.tensors.find(tensor);
  if (found == manifest_.tensors.end()) {
    throw CheckpointError(fmt::format("{} has no tensor '{}'", folder_.string(), tensor));
  }
  return file(found->second);
}

at::Tensor CheckpointReader::read(const std::string& name) const {
  return file_of(name).read(name);
}

void CheckpointReader::read_into(const std::string& name, at::Tensor destination) const {
  file_of(name).read_into(name, std::move(destination));
}

std::vector<StoredTensor> CheckpointReader::tensors() const {
  std::vector<StoredTensor> tensors;
  for (const auto& [name, file_name] : manifest_.tensors) {
    const auto& stored = file(file_name).tensors();
    const auto found = std::ranges::lower_bound(stored, name, {}, &StoredTensor::name);
    if (found == stored.end() || found->name != name) {
      throw CheckpointError(fmt::format("{} has no tensor '{}'", (folder_ / file_name).string(), name));
    }
    tensors.push_back(*found);
  }
  return tensors;
}

std::string CheckpointReader::read_checked(const std::string& name) const {
  const auto path = folder_ / name;
  const auto file = std::ranges::find(manifest_.files, name, &ManifestFile::name);
  if (file == manifest_.files.end()) {
    throw CheckpointError(fmt::format("{} is not part of the checkpoint", path.string()));
  }
  auto text = read_text(path);
  if (crc32c(std::as_bytes(std::span(text))) != file->crc32c) {
    throw CheckpointError(fmt::format("{}: damaged, its bytes do not match their checksum", path.string()));
  }
  return text;
}

}  // namespace lmnet
