#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "data/skipped_record.h"
#include "parallel/communicator.h"

namespace lmnet {

/// The bad records that a run has passed over, each once, however often it was met and the run resumed. Rank 0 keeps
/// them, in skipped.jsonl: `{"file": …, "record": …, "line": …, "reason": …}` a line.
class SkippedLog {
 public:
  explicit SkippedLog(int64_t limit) : limit_(limit) {}

  /// On rank 0: from here on there is a file, and what it lists counts. Throws CheckpointError, and
  /// DataError where that is more than the limit.
  void open(const std::filesystem::path& file);

  /// That the file cannot be written, once; empty otherwise.
  std::string take_warning() { return std::exchange(warning_, {}); }

  /// Whether all of them stand in the file, where there is one.
  bool written() const { return unwritten_.empty(); }

  /// Adds what this rank has met; says how many of all ranks' are new. Collective; throws AgreedError above the limit.
  int64_t add(Communicator& world, const std::vector<SkippedRecord>& met);

 private:
  int64_t keep(const std::vector<nlohmann::ordered_json>& of_ranks);
  void write();

  int64_t limit_;
  std::filesystem::path file_;
  std::set<std::pair<std::string, int64_t>> known_;
  std::vector<SkippedRecord> unwritten_;
  std::string warning_;
  bool warned_ = false;
};

}  // namespace lmnet
