#include "data/skipped_record.h"

#include <nlohmann/json.hpp>

namespace lmnet {

std::string json_line(const SkippedRecord& record) {
  using Json = nlohmann::ordered_json;
  Json json;
  if (!record.file.empty()) json["file"] = record.file.string();
  json["record"] = record.record;
  json["line"] = record.line;
  json["reason"] = record.reason;
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::optional<SkippedRecord> parse_skipped(std::string_view line) {
  try {
    const auto json = nlohmann::json::parse(line);
    SkippedRecord record{json.value("file", ""), json.at("record"), json.at("line"), json.at("reason")};
    if (record.record < 0 || record.line < 0) return std::nullopt;
    return record;
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

}  // namespace lmnet
