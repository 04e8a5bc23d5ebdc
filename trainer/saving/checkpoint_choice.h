#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace lmnet {

/// Reads every byte of a checkpoint, the ranks sharing its files, and holds them against their checksums. Returns what
/// is wrong, the same on all ranks; empty if it is whole. Collective.
std::string damage_of_checkpoint(Communicator& world, const std::filesystem::path& folder);

/// The checkpoint to resume from: the newest one in the folder that is whole, empty if there is none at all; `damaged`
/// tells what is wrong with each newer one.
struct ResumeChoice {
  std::optional<std::filesystem::path> checkpoint;
  std::vector<std::string> damaged;
};
/// One that was being replaced when the run was killed comes back first. Collective; throws AgreedError (code 3) if
/// there are checkpoints, but none is whole: the run must not silently begin anew.
ResumeChoice choose_checkpoint(Communicator& world, const std::filesystem::path& dir);

}  // namespace lmnet
