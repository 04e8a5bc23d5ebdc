#include "trainer/run/skipped_log.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cerrno>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "data/errors.h"
#include "trainer/checkpoint/file_io.h"
#include "trainer/together.h"

namespace lmnet {
namespace {

using Json = nlohmann::ordered_json;
using Key = std::pair<std::string, int64_t>;

Key key_of(const SkippedRecord& record) {
  return {record.file.string(), record.record};
}

Json to_json(const SkippedRecord& record) {
  return {{"file", record.file.string()}, {"record", record.record}, {"line", record.line}, {"reason", record.reason}};
}

SkippedRecord from_json(const Json& json) {
  return {json.at("file").get<std::string>(), json.at("record"), json.at("line"), json.at("reason")};
}

}  // namespace

void SkippedLog::open(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::string whole, line;
  std::set<Key> listed;
  while (std::getline(in, line)) {
    const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object()) continue;  // cut off by a kill: it is met again
    listed.emplace(json.value("file", ""), json.value("record", int64_t{0}));
    whole += line + "\n";
  }
  std::erase_if(unwritten_, [&](const auto& record) { return listed.contains(key_of(record)); });
  known_.merge(listed);
  file_ = file;
  if (!whole.empty()) write_text(file_, whole);
  write();
  if (std::ssize(known_) > limit_)
    throw DataError(fmt::format("{} lists {} bad records, data.bad_record_limit is {}: raise it to go on",
                                file_.string(), known_.size(), limit_));
}

int64_t SkippedLog::add(Communicator& world, const std::vector<SkippedRecord>& met) {
  at::Tensor counts = at::full({1}, static_cast<int64_t>(met.size()), at::kLong);
  world.all_reduce(counts);
  if (counts.item<int64_t>() == 0) return 0;
  Json mine = Json::array();
  for (const SkippedRecord& record : met) mine.push_back(to_json(record));
  const std::vector<Json> of_ranks = gather_json(world, mine);
  counts[0] = 0;
  together(world, [&] {
    if (world.rank() == 0) counts[0] = keep(of_ranks);
  });
  world.broadcast(counts, 0);
  return counts.item<int64_t>();
}

/// How many of those are new.
int64_t SkippedLog::keep(const std::vector<Json>& of_ranks) {
  std::map<Key, SkippedRecord> fresh;  // in an order of their own, whatever rank met them
  for (const Json& list : of_ranks)
    for (const Json& json : list) {
      const SkippedRecord record = from_json(json);
      if (!known_.contains(key_of(record))) fresh.emplace(key_of(record), record);
    }
  for (const auto& [key, record] : fresh) {
    known_.insert(key);
    unwritten_.push_back(record);
  }
  if (!file_.empty()) write();
  if (!fresh.empty() && std::ssize(known_) > limit_) {
    const SkippedRecord& last = fresh.rbegin()->second;
    throw DataError(fmt::format("{}: record {}: {}; it is bad record {} of this run, data.bad_record_limit is {}",
                                last.file.string(), last.record, last.reason, known_.size(), limit_));
  }
  return std::ssize(fresh);
}

void SkippedLog::write() {
  if (unwritten_.empty()) return;
  std::ofstream out(file_, std::ios::binary | std::ios::app);
  for (const SkippedRecord& record : unwritten_)
    out << to_json(record).dump(-1, ' ', false, Json::error_handler_t::replace) << '\n';
  if (!out.flush()) throw_file_error("write", file_, errno);
  unwritten_.clear();
}

}  // namespace lmnet
