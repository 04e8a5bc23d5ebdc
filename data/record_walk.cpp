#include "data/record_walk.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "data/errors.h"
#include "data/prepared_documents.h"
#include "data/shuffle.h"

namespace lmnet {
namespace {

constexpr size_t block_records = 1024;

[[noreturn]] void fail_place(const Unit& unit) {
  throw DataError(fmt::format("{}: is shorter than the stored position in it; was it changed?", unit.file.string()));
}

[[noreturn]] void fail_changed(const Unit& unit, const RecordWalk::Place& place) {
  throw DataError(
      fmt::format("{}: the records from {} on are not those that the run has read there; put the file back as it was, "
                  "or start a new run",
                  unit.file.string(), place.block.record));
}

/// Of text, eight bytes at a time.
uint64_t add_text(uint64_t hash, std::string_view text) {
  uint64_t word = text.size();
  hash = hash_step(hash, word);
  for (; !text.empty(); text.remove_prefix(std::min(text.size(), sizeof(word)))) {
    word = 0;
    std::memcpy(&word, text.data(), std::min(text.size(), sizeof(word)));
    hash = hash_step(hash, word);
  }
  return hash;
}

/// Of a record; prepared data has a fingerprint for that.
uint64_t add_entry(uint64_t hash, const Entry& entry) {
  const Record* record = std::get_if<Record>(&entry);
  if (!record) return hash;
  hash = add_text(add_text(hash, record->prompt), record->answer);
  for (const ChatMessage& message : record->messages) hash = add_text(add_text(hash, message.role), message.content);
  return hash;
}

uint64_t hash_of_file(const Unit& unit, int64_t bytes) {
  return hash_of({hash_of(unit.file.filename().string()), static_cast<uint64_t>(bytes)});
}

/// `units` are those that were passed.
[[noreturn]] void fail_passed(const std::vector<const Unit*>& units, const FilesPassed& stored, FilesPassed found) {
  for (const Unit* unit : units) {
    const int64_t before = unit->bytes + stored.bytes - found.bytes;
    if (found.hash - hash_of_file(*unit, unit->bytes) + hash_of_file(*unit, before) != stored.hash) continue;
    throw DataError(
        fmt::format("{}: has {} bytes, and had {} when the run read it; put the file back as it was, or start a new "
                    "run",
                    unit->file.string(), unit->bytes, before));
  }
  throw DataError(
      fmt::format("{} and others: some of these {} files have other sizes than when the run read them; put "
                  "them back as they were, or start a new run",
                  units.empty() ? "the data" : units.front()->file.string(), units.size()));
}

/// The unit's first record that is `record` or lies behind it: a place may be that of a bad record of another stream.
int64_t first_from(const Unit& unit, int64_t record) {
  const int64_t beyond = std::max<int64_t>(0, record - unit.first);
  return unit.first + (beyond + unit.stride - 1) / unit.stride * unit.stride;
}

}  // namespace

/// The records of one unit from a place on.
class RecordWalk::Reader {
 public:
  Reader(const Unit& unit, Format format, const WalkOrder& order, int64_t epoch, const Cursor& from)
      : unit_(unit), epoch_(epoch), place_(from), number_(first_from(unit, from.record)) {
    if (unit.prepared)
      tokens_.emplace(unit, number_, order.block_bytes);
    else if (!unit.scan)
      reader_.emplace(unit.file, format, from);
  }

  /// `place`: where the record can be read again. `number`: its own in the file. Bad ones before it go to `skipped`.
  bool next(Entry& entry, Cursor& place, int64_t& number, std::vector<SkippedRecord>& skipped) {
    if (tokens_) {
      place = {};
      place.record = number = tokens_->number();
      return tokens_->next(entry.emplace<Document>());
    }
    Record& record = entry.emplace<Record>();
    if (reader_) {
      place = reader_->cursor();
      const bool more = reader_->next(record);
      skipped.insert(skipped.end(), reader_->skipped().begin(), reader_->skipped().end());
      if (!more) return false;
      number = reader_->cursor().record - 1;
      return true;
    }
    auto found = unit_.scan->take(epoch_, number_, place_, skipped);
    if (!found) return false;
    record = std::move(found->record);
    place = place_ = found->place;
    number = found->number;
    number_ = number + unit_.stride;
    return true;
  }

 private:
  const Unit& unit_;
  int64_t epoch_;
  Cursor place_;    // at or before the next record
  int64_t number_;  // of the next record, if it is not skipped
  std::optional<RecordReader> reader_;
  std::optional<PreparedDocuments> tokens_;
};

void FilesPassed::add(const Unit& unit, int64_t size) {
  if (unit.bytes < 0) return;
  hash += hash_of_file(unit, size);
  bytes += size;
}

RecordWalk::RecordWalk(std::vector<Unit> units, Format format, WalkOrder order)
    : units_(std::move(units)), format_(format), order_(order) {}

RecordWalk::RecordWalk(RecordWalk&&) noexcept = default;
RecordWalk::~RecordWalk() = default;

void RecordWalk::reset() {
  place_ = {};
  reader_.reset();
  for (const Unit& unit : units_)
    if (unit.scan) unit.scan->reset();
}

void RecordWalk::go(const Place& place) {
  const bool at_end = place.epoch == order_.epochs && place.unit == 0 && place.record == 0;
  if (place.epoch < 0 || (place.epoch >= order_.epochs && !at_end) || place.unit < 0 || place.block.record < 0 ||
      place.record < 0 || place.unit >= std::ssize(units_)) {
    throw DataError(
        fmt::format("the stored data position (epoch {}, unit {}, block {}, record {}) is not one of this data",
                    place.epoch, place.unit, place.block.record, place.record));
  }
  check_passed(place);
  place_ = place;
  reader_.reset();
  block_.clear();
  skipped_.clear();
  // What came before in this epoch is unknown here: the benefit of the doubt.
  learnt_ = place.unit > 0 || place.block.record > 0 || place.record > 0;
  if (at_end) return;
  if (const Unit& here = unit(); here.scan) here.scan->expect(place.epoch, place.block);
}

void RecordWalk::check_passed(const Place& place) const {
  std::vector<const Unit*> units;
  for (const int64_t unit : permutation(std::ssize(units_), hash_of({order_.units, uint64_t{0}}))) {
    if (place.epoch == 0 && std::ssize(units) == place.unit) break;
    units.push_back(&units_[unit]);
  }
  FilesPassed found;
  for (const Unit* unit : units) found.add(*unit, unit->bytes);
  if (found != place.passed) fail_passed(units, place.passed, found);
}

void RecordWalk::pass_file() {
  if (place_.epoch > 0) return;
  const Unit& read = unit();
  std::error_code error;  // its size may be another than at the start: it may have been replaced since
  const auto bytes = static_cast<int64_t>(std::filesystem::file_size(read.file, error));
  place_.passed.add(read, error ? read.bytes : bytes);
}

bool RecordWalk::next(Entry& entry) {
  if (ended()) return false;
  if (!reader_) open_unit();
  while (place_.record == std::ssize(block_)) {
    if (!turn_page()) return false;
  }
  entry = std::move(block_[block_order_[place_.record++]]);
  return true;
}

/// Of the present place.
const Unit& RecordWalk::unit() {
  if (ordered_epoch_ != place_.epoch) {
    unit_order_ = permutation(std::ssize(units_), hash_of({order_.units, static_cast<uint64_t>(place_.epoch)}));
    ordered_epoch_ = place_.epoch;
  }
  return units_[unit_order_[place_.unit]];
}

void RecordWalk::open_unit() {
  reader_ = std::make_unique<Reader>(unit(), format_, order_, place_.epoch, place_.block);
  const Place stored = place_;
  read_block();
  if (place_.record > std::ssize(block_) || (block_.empty() && stored.block.record > 0)) fail_place(unit());
  if (stored.text != 0 && place_.text != stored.text) fail_changed(unit(), stored);
}

void RecordWalk::read_block() {
  block_.clear();
  place_.text = 0;
  uint64_t text = 1;
  size_t bytes = 0;
  int64_t first = 0, number = 0;
  Entry entry;
  Cursor place;
  while (block_.size() < block_records && bytes < order_.block_bytes && reader_->next(entry, place, number, skipped_)) {
    if (block_.empty()) {
      place_.block = place;
      first = number;
    }
    bytes += size_of(entry);
    text = add_entry(text, entry);
    block_.push_back(std::move(entry));
  }
  if (!block_.empty()) place_.text = text;
  block_order_ =
      permutation(std::ssize(block_), hash_of({order_.blocks, static_cast<uint64_t>(place_.epoch),
                                               static_cast<uint64_t>(place_.unit), static_cast<uint64_t>(first)}));
}

bool RecordWalk::turn_page() {
  if (!block_.empty()) {
    place_.record = 0;
    read_block();
    return true;
  }
  pass_file();
  place_ = {place_.epoch, place_.unit + 1, {}, 0, 0, place_.passed};
  if (place_.unit == std::ssize(units_)) {
    place_ = {place_.epoch + 1, 0, {}, 0, 0, place_.passed};
    const bool taught = std::exchange(learnt_, false);
    if (!taught || ended()) {
      reader_.reset();
      block_.clear();
      return false;
    }
  }
  open_unit();
  return true;
}

}  // namespace lmnet
