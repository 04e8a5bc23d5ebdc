#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace lmnet {

/// A record that was passed over.
struct SkippedRecord {
  std::filesystem::path file;
  int64_t record = 0;  // from 0
  int64_t line = 0;    // from 1; 0: the file has no lines
  std::string reason;
  bool operator==(const SkippedRecord&) const = default;
};

/// `{"file": …, "record": …, "line": …, "reason": …}` and a line end, as lists of them have it; an empty `file` is left
/// out.
std::string json_line(const SkippedRecord& record);
/// Nothing where the line, with its end or without, is none of these.
std::optional<SkippedRecord> parse_skipped(std::string_view line);

}  // namespace lmnet
