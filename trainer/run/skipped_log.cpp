#include "trainer/run/skipped_log.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "data/errors.h"
#include "trainer/checkpoint/file_io.h"
#include "trainer/describe.h"
#include "trainer/together.h"

namespace lmnet {
namespace {

using Json = nlohmann::ordered_json;
using Key = std::pair<std::string, int64_t>;

Key key_of(const SkippedRecord& record) {
  return {record.file.string(), record.record};
}

}  // namespace

void SkippedLog::open(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::string whole, line;
  std::set<Key> listed;
  while (std::getline(in, line)) {
    const auto record = parse_skipped(line);
    if (!record) continue;  // cut off by a kill: it is met again
    listed.insert(key_of(*record));
    whole += line + "\n";
  }
  std::erase_if(unwritten_, [&](const auto& record) { return listed.contains(key_of(record)); });
  known_.merge(listed);
  file_ = file;
  if (!whole.empty()) write_text(file_, whole);
  write();
  if (std::ssize(known_) > limit_)
    throw DataError(fmt::format("{} lists {}, data.bad_record_limit is {}: raise it to go on", file_.string(),
                                counted(std::ssize(known_), "bad record"), limit_));
}

int64_t SkippedLog::add(Communicator& world, const std::vector<SkippedRecord>& met) {
  write();
  at::Tensor counts = at::full({1}, static_cast<int64_t>(met.size()), at::kLong);
  world.all_reduce(counts);
  if (counts.item<int64_t>() == 0) return 0;
  Json mine = Json::array();
  for (const SkippedRecord& record : met) mine.push_back(json_line(record));
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
      const SkippedRecord record = parse_skipped(json.get_ref<const std::string&>()).value();
      if (!known_.contains(key_of(record))) fresh.emplace(key_of(record), record);
    }
  for (const auto& [key, record] : fresh) {
    known_.insert(key);
    unwritten_.push_back(record);
  }
  write();
  if (!fresh.empty() && std::ssize(known_) > limit_) {
    const SkippedRecord& last = fresh.rbegin()->second;
    throw DataError(fmt::format("{}: record {}: {}; it is bad record {} of this run, data.bad_record_limit is {}",
                                last.file.string(), last.record, last.reason, known_.size(), limit_));
  }
  return std::ssize(fresh);
}

/// What cannot be written waits for the next time: the count is what matters.
void SkippedLog::write() {
  if (file_.empty() || unwritten_.empty()) return;
  std::error_code error;
  const auto before = std::filesystem::file_size(file_, error);
  errno = 0;
  std::ofstream out(file_, std::ios::binary | std::ios::app);
  for (const SkippedRecord& record : unwritten_) out << json_line(record);
  if (out.flush()) {
    unwritten_.clear();
    return;
  }
  const std::string cause = std::strerror(errno);
  out.close();
  std::filesystem::resize_file(file_, error ? 0 : before, error);  // without what was written by half
  if (!std::exchange(warned_, true))
    warning_ = fmt::format("{}: cannot be written: {}; bad records are counted all the same, and listed there later",
                           file_.string(), cause);
}

}  // namespace lmnet
