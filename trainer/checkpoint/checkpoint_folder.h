#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "trainer/checkpoint/manifest.h"

namespace lmnet {

/// The life of the folders `checkpoints/step-000001000/`. A folder stands under that name only when all of it is on the
/// disk; until then it is `.step-000001000.tmp`. Everything here throws CheckpointError naming the file.

inline constexpr const char* manifest_name = "manifest.json";

/// `step-000001000` for update 1000.
std::string folder_name(int64_t update);

/// `frozen-000001000`: the copy of frozen weights that a run keeps beside its checkpoints, made at that update.
std::string frozen_name(int64_t update);
/// All of them.
std::vector<std::filesystem::path> list_frozen(const std::filesystem::path& dir);

/// All folders with the name of a checkpoint, newest first. A folder that is not there holds none.
std::vector<std::filesystem::path> step_folders(const std::filesystem::path& dir);

/// Brings checkpoints back whose replacement was killed before it had their name.
void restore_replaced(const std::filesystem::path& dir);

/// The complete checkpoints (those with a manifest.json), newest first. A folder that is not there holds none.
std::vector<std::filesystem::path> list_checkpoints(const std::filesystem::path& dir);

/// Removes what unfinished writers left; a checkpoint that was being replaced comes back first. No writer may be at
/// work.
void clean_partial(const std::filesystem::path& dir);

/// Gives a damaged checkpoint the name `damaged-step-000001000`, under which nothing counts it any more; returns it.
std::filesystem::path set_aside(const std::filesystem::path& folder);

/// Reads the manifest of a checkpoint and checks that every file is there in full, with `verify` also its CRC. The
/// error names every file that is damaged.
Manifest open_checkpoint(const std::filesystem::path& folder, bool verify = false);

/// What is wrong with one of its files: nothing if it is whole.
std::optional<std::string> damage_of(const std::filesystem::path& folder, const ManifestFile& file, bool verify);

}  // namespace lmnet
