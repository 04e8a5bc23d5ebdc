#pragma once
#include <cstdint>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "data/document.h"
#include "data/unit.h"

namespace lmnet {

/// What fixes the order in which one stream walks its share of one source.
struct WalkOrder {
  uint64_t units = 0;   // key of the order of the units in each epoch; the same for all streams that share files
  uint64_t blocks = 0;  // key of the order inside blocks
  size_t block_bytes = 1 << 20;
  int64_t epochs = std::numeric_limits<int64_t>::max();  // after which it ends
};

/// The files whose end was met, each once, in two sums: of hashes of name and size, and of sizes. A file that has
/// another size later shows in both, which tells its name.
struct FilesPassed {
  uint64_t hash = 0;
  int64_t bytes = 0;
  bool operator==(const FilesPassed&) const = default;
  void add(const Unit& unit, int64_t bytes);
};

/// One stream's share of one source, epoch after epoch: every epoch takes the units in another order, and the records
/// of a unit in blocks of up to 1024 records or `block_bytes` of text, which are read in order and shuffled inside.
/// Holds one block. Inside compressed files going to a place may decompress the file up to it.
class RecordWalk {
 public:
  /// Of the next record.
  struct Place {
    int64_t epoch = 0;
    int64_t unit = 0;    // in the order of this epoch
    Cursor block;        // where its block begins
    int64_t record = 0;  // in the shuffled order of the block
    uint64_t text = 0;   // hash of the block's records; 0: none were read
    FilesPassed passed = {};
  };

  RecordWalk(std::vector<Unit> units, Format format, WalkOrder order);
  RecordWalk(RecordWalk&&) noexcept;
  ~RecordWalk();

  bool empty() const { return units_.empty(); }
  /// Its last epoch is over.
  bool ended() const { return place_.epoch == order_.epochs; }
  const Place& place() const { return place_; }
  /// Forgets what it and those that share its files have read: for all of them before go().
  void reset();
  /// Throws DataError where the data has no such place, or is not what was read on the way to it, there or in next().
  void go(const Place& place);

  /// False after the last epoch, and at the end of an epoch without any call of learnt(), so that no caller can seek in
  /// vain for ever. Throws DataError for a bad record.
  bool next(Entry& entry);
  /// Bad records that were met since the last call, some of them perhaps again.
  std::vector<SkippedRecord> take_skipped() { return std::exchange(skipped_, {}); }
  /// Tells that the last record was of use.
  void learnt() { learnt_ = true; }

 private:
  class Reader;

  const Unit& unit();
  void open_unit();
  void read_block();
  bool turn_page();
  void check_passed(const Place& place) const;
  void pass_file();

  std::vector<Unit> units_;
  Format format_;
  WalkOrder order_;
  Place place_;
  std::vector<int64_t> unit_order_;
  int64_t ordered_epoch_ = -1;
  std::unique_ptr<Reader> reader_;  // none before the first record and after go()
  std::vector<Entry> block_;
  std::vector<int64_t> block_order_;
  std::vector<SkippedRecord> skipped_;
  bool learnt_ = false;
};

}  // namespace lmnet
