#include "data/record_walk.h"

#include <fmt/format.h>

#include <utility>

#include "data/errors.h"
#include "data/shuffle.h"

namespace lmnet {
namespace {

constexpr size_t block_records = 1024;
constexpr size_t block_bytes = 1 << 20;

[[noreturn]] void fail_place(const Unit& unit) {
  throw DataError(fmt::format("{}: is shorter than the stored position in it; was it changed?", unit.file.string()));
}

}  // namespace

RecordWalk::RecordWalk(std::vector<Unit> units, Format format, uint64_t key)
    : units_(std::move(units)), format_(format), key_(key) {}

void RecordWalk::go(const Place& place) {
  if (place.epoch < 0 || place.unit < 0 || place.block < 0 || place.record < 0 ||
      place.unit >= static_cast<int64_t>(units_.size())) {
    throw DataError(
        fmt::format("the stored data position (epoch {}, unit {}, block {}, record {}) is not one of this data",
                    place.epoch, place.unit, place.block, place.record));
  }
  place_ = place;
  reader_.reset();
  // What came before in this epoch is unknown here: the benefit of the doubt.
  learnt_ = place.unit > 0 || place.block > 0 || place.record > 0;
}

bool RecordWalk::next(Record& record) {
  if (!reader_) open_unit();
  while (place_.record == static_cast<int64_t>(block_.size())) {
    if (!turn_page()) return false;
  }
  record = std::move(block_[block_order_[place_.record++]]);
  return true;
}

void RecordWalk::open_unit() {
  if (ordered_epoch_ != place_.epoch) {
    unit_order_ =
        permutation(static_cast<int64_t>(units_.size()), hash_of({key_, static_cast<uint64_t>(place_.epoch)}));
    ordered_epoch_ = place_.epoch;
  }
  const Unit& unit = units_[unit_order_[place_.unit]];
  reader_.emplace(unit.file, format_, unit.start);
  for (int64_t passed = 0; passed < place_.block; ++passed) {
    if (!reader_->skip()) fail_place(unit);
  }
  left_ = unit.count - place_.block;
  read_block();
  if (place_.record > static_cast<int64_t>(block_.size())) fail_place(unit);
}

void RecordWalk::read_block() {
  block_.clear();
  size_t bytes = 0;
  Record record;
  while (left_ > 0 && block_.size() < block_records && bytes < block_bytes && reader_->next(record)) {
    bytes += record.bytes();
    block_.push_back(std::move(record));
    --left_;
  }
  block_order_ = permutation(static_cast<int64_t>(block_.size()),
                             hash_of({key_, static_cast<uint64_t>(place_.epoch), static_cast<uint64_t>(place_.unit),
                                      static_cast<uint64_t>(place_.block)}));
}

bool RecordWalk::turn_page() {
  if (!block_.empty()) {
    place_.block += static_cast<int64_t>(block_.size());
    place_.record = 0;
    read_block();
    return true;
  }
  place_ = {place_.epoch, place_.unit + 1, 0, 0};
  if (place_.unit == static_cast<int64_t>(units_.size())) {
    place_ = {place_.epoch + 1, 0, 0, 0};
    if (!std::exchange(learnt_, false)) {
      reader_.reset();
      return false;
    }
  }
  open_unit();
  return true;
}

}  // namespace lmnet
