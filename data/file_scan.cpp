#include "data/file_scan.h"

namespace lmnet {

FileScan::FileScan(std::filesystem::path file, Format format, std::vector<bool> wanted)
    : file_(std::move(file)), format_(format), wanted_(std::move(wanted)) {}

void FileScan::reset() {
  const std::lock_guard lock(mutex_);
  pass_ = 0;
  start_ = {};
  expected_ = false;
  reader_.reset();
  failure_ = nullptr;
  window_.clear();
  waiting_ = 0;
  stray_.clear();
}

void FileScan::expect(int64_t pass, const Cursor& from) {
  const std::lock_guard lock(mutex_);
  if (reader_ || (expected_ && Key{pass, from.record} >= here())) return;
  expected_ = true;
  pass_ = pass;
  start_ = from;
}

std::optional<FileScan::Found> FileScan::take(int64_t pass, int64_t from, const Cursor& near,
                                              std::vector<SkippedRecord>& skipped) {
  const std::lock_guard lock(mutex_);
  const auto stride = static_cast<int64_t>(wanted_.size());
  for (int64_t number = from;; number += stride) {
    if (records_ && number >= *records_) {
      stray_.erase(from % stride);
      return std::nullopt;
    }
    while (here() <= Key{pass, number}) step();
    if (const auto found = window_.find({pass, number}); found != window_.end()) {
      Waiting waiting = std::move(found->second);
      window_.erase(found);
      if (!waiting.record) {
        skipped.push_back(std::move(waiting.skipped));
        continue;
      }
      waiting_ -= waiting.record->bytes();
      return Found{std::move(*waiting.record), number, std::move(waiting.place)};
    }
    if (!records_ || number < *records_) return take_alone(pass, number, near, skipped);
  }
}

void FileScan::step() {
  if (failure_) std::rethrow_exception(failure_);
  try {
    read_one();
  } catch (...) {
    failure_ = std::current_exception();
    throw;
  }
}

/// Reads one record for whom it may concern; at the end of the file the next pass begins.
void FileScan::read_one() {
  if (!reader_) reader_.emplace(file_, format_, start_);
  Cursor place = reader_->cursor();
  const int64_t number = place.record;
  Record record;
  const bool more = is_wanted(number) ? reader_->next(record) : reader_->skip();
  const int64_t passed = reader_->cursor().record - (more ? 1 : 0);
  // Bad records that were skipped, and one of another stream in their place.
  for (const SkippedRecord& bad : reader_->skipped())
    if (is_wanted(bad.record)) keep(bad.record, {{}, {}, bad});
  if (more && is_wanted(passed)) keep(passed, {std::move(record), std::move(place)});
  if (more) return;
  records_ = passed;
  reader_.reset();
  start_ = {};
  ++pass_;
}

void FileScan::keep(int64_t number, Waiting waiting) {
  if (waiting.record) waiting_ += waiting.record->bytes();
  window_[{pass_, number}] = std::move(waiting);
  while (waiting_ > most_waiting && window_.size() > 1) {
    const auto oldest = window_.begin();
    if (oldest->second.record) waiting_ -= oldest->second.record->bytes();
    window_.erase(oldest);
  }
}

std::optional<FileScan::Found> FileScan::take_alone(int64_t pass, int64_t from, const Cursor& near,
                                                    std::vector<SkippedRecord>& skipped) {
  const auto stride = static_cast<int64_t>(wanted_.size());
  auto own = stray_.find(from % stride);
  if (own != stray_.end() && (own->second.pass != pass || own->second.reader.cursor().record > from)) {
    stray_.erase(own);
    own = stray_.end();
  }
  if (own == stray_.end()) own = stray_.emplace(from % stride, Stray{pass, {file_, format_, near}}).first;
  RecordReader& reader = own->second.reader;
  while (true) {
    Cursor place = reader.cursor();
    if (place.record < from) {
      if (!reader.skip()) break;
      continue;
    }
    Record record;
    const bool more = reader.next(record);
    for (const SkippedRecord& bad : reader.skipped())
      if (bad.record >= from && bad.record % stride == from % stride) skipped.push_back(bad);
    if (!more) break;
    const int64_t number = reader.cursor().record - 1;
    if (number % stride == from % stride) return Found{std::move(record), number, std::move(place)};
    from = number + stride - (number - from) % stride;
  }
  records_ = reader.cursor().record;
  stray_.erase(own);
  return std::nullopt;
}

}  // namespace lmnet
