#pragma once
#include <cstdint>
#include <exception>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "data/record_reader.h"

namespace lmnet {

/// One file that many streams of a rank share, each taking every stride-th record: read once for all of them, pass
/// after pass. Records that are passed on the way to another stream's wait in a window of bounded size; a stream that
/// stays behind so far that its records had to go reads the rest of the pass by itself. What a stream gets depends on
/// the file alone. Safe to use from several threads.
class FileScan {
 public:
  /// `wanted`: for each remainder of a record's number by the stride (its size) whether a stream here takes it.
  FileScan(std::filesystem::path file, Format format, std::vector<bool> wanted);

  /// As new.
  void reset();
  /// A stream will go on from here: before the first take(), so that reading begins at the earliest such place.
  void expect(int64_t pass, const Cursor& from);

  struct Found {
    Record record;
    int64_t number = 0;
    Cursor place;  // at the record, or at bad ones before it that are skipped
  };
  /// The first record that is not skipped with a number `from`, from + stride, …; none where the file ends before.
  /// `near`: a place at or before it. Those with such numbers that are skipped are added to `skipped`. Throws
  /// DataError.
  std::optional<Found> take(int64_t pass, int64_t from, const Cursor& near, std::vector<SkippedRecord>& skipped);

  /// Text that may wait, in bytes.
  static constexpr size_t most_waiting = size_t{64} << 20;

 private:
  using Key = std::pair<int64_t, int64_t>;  // pass, number
  struct Waiting {
    std::optional<Record> record;  // none: a bad one
    Cursor place;
    SkippedRecord skipped = {};  // that one
  };
  struct Stray {
    int64_t pass;
    RecordReader reader;
  };

  Key here() const { return {pass_, reader_ ? reader_->cursor().record : start_.record}; }
  bool is_wanted(int64_t number) const { return wanted_[static_cast<size_t>(number) % wanted_.size()]; }
  void step();
  void read_one();
  void keep(int64_t number, Waiting waiting);
  std::optional<Found> take_alone(int64_t pass, int64_t from, const Cursor& near, std::vector<SkippedRecord>& skipped);

  std::filesystem::path file_;
  Format format_;
  std::vector<bool> wanted_;
  std::mutex mutex_;
  int64_t pass_ = 0;
  Cursor start_;  // of the first pass
  bool expected_ = false;
  std::optional<RecordReader> reader_;
  std::exception_ptr failure_;      // of reader_, which is then of no more use
  std::optional<int64_t> records_;  // of the file, once its end was seen
  std::map<Key, Waiting> window_;
  size_t waiting_ = 0;              // bytes in it
  std::map<int64_t, Stray> stray_;  // by remainder
};

}  // namespace lmnet
