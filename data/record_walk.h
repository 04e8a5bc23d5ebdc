#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "data/unit.h"

namespace lmnet {

/// One stream's share of one source, walked for ever: every epoch takes the units in another order, and the records of
/// a unit in blocks of up to 1024 records or 1 MiB of text, which are read in order and shuffled inside. Holds one
/// block. Inside gzip files going to a place decompresses the file up to it.
class RecordWalk {
 public:
  /// Of the next record.
  struct Place {
    int64_t epoch = 0;
    int64_t unit = 0;    // in the order of this epoch
    int64_t block = 0;   // its first record, counted in the unit
    int64_t record = 0;  // in the shuffled order of the block
  };

  /// All orders follow from `key`.
  RecordWalk(std::vector<Unit> units, Format format, uint64_t key);

  bool empty() const { return units_.empty(); }
  const Place& place() const { return place_; }
  /// Throws DataError where the data has no such place, there or in next().
  void go(const Place& place);

  /// False at the end of an epoch without any call of learnt(), so that no caller can seek in vain for ever. Throws
  /// DataError for a bad record.
  bool next(Record& record);
  /// Tells that the last record was of use.
  void learnt() { learnt_ = true; }

 private:
  void open_unit();
  void read_block();
  bool turn_page();

  std::vector<Unit> units_;
  Format format_;
  uint64_t key_;
  Place place_;
  std::vector<int64_t> unit_order_;
  int64_t ordered_epoch_ = -1;
  std::optional<RecordReader> reader_;  // empty before the first record and after go()
  std::vector<Record> block_;
  std::vector<int64_t> block_order_;
  int64_t left_ = 0;  // records of the unit behind this block
  bool learnt_ = false;
};

}  // namespace lmnet
