#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace lmnet {

/// The newest that metrics.jsonl of a run tells.
struct RunMetrics {
  int64_t update = 0;
  std::optional<double> loss, validation_loss, tokens_per_s, seconds;  // of an update

  /// Until all updates are made, at the present speed.
  std::optional<double> seconds_left(int64_t updates) const {
    return seconds ? std::optional(*seconds * static_cast<double>(updates - update)) : std::nullopt;
  }
};
/// Nothing where there is no such file.
RunMetrics newest_metrics(const std::filesystem::path& run);

/// The last whole lines of a file, 16 KiB at most; nothing of one that is not there.
std::string tail_of(const std::filesystem::path& file);

}  // namespace lmnet
