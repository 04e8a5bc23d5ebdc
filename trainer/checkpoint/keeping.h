#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>

#include "trainer/checkpoint/checkpoint_writer.h"

namespace lmnet {

/// Which checkpoints of a run stay.
struct Keeping {
  int newest = 3;                     // at least one does
  std::optional<int64_t> every = {};  // those of its multiples
  int best = 1;                       // of those with a validation loss
};

/// Lets `latest` and `best` (links beside the checkpoints) point to the newest one and to the one with the smallest
/// validation loss; then removes the complete checkpoints that need not stay. Throws CheckpointError.
void keep_checkpoints(const std::filesystem::path& dir, const Keeping& keeping, const SavePoint& at_point = nullptr);

}  // namespace lmnet
