#pragma once
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "data/packer.h"
#include "data/record_walk.h"

namespace lmnet {

/// One stream's share of one source.
struct SourceShare {
  RecordWalk walk;
  double weight = 1;
  int64_t most_tokens = std::numeric_limits<int64_t>::max();
  int64_t tokens = 0;  // taken so far
  bool ended = false;  // nothing more comes of it: its last epoch is over, or a whole epoch of it taught nothing
};

/// Where a stream stands between two rows: a few numbers for each source.
struct StreamPosition {
  struct Share {
    RecordWalk::Place place;
    int64_t tokens = 0;
    bool ended = false;
  };
  std::vector<Share> shares;
  int64_t current = -1;  // whose document is partly in rows; -1: none
  int64_t taken = 0;     // how much of it
  int32_t carry = 0;     // the last token of the row before

  /// JSON, on one line. `fingerprint` names the data and options that fix the order.
  std::string json(const std::string& fingerprint) const;
  /// Throws DataError for damage and for a position of other data.
  static StreamPosition parse(const std::string& json, const std::string& fingerprint);
};

/// One of the S streams: mixes its shares, each next document coming from the share that is furthest behind its weight,
/// and cuts them into rows.
class Stream {
 public:
  Stream(std::vector<SourceShare> shares, const Tokenizer& tokenizer, RowShape shape);

  /// Throws DataError for a bad record, and where no share holds anything more to learn.
  void append_row(TokenBatch& batch);
  /// Bad records that were met on the way to the rows since the last call, some of them perhaps again.
  std::vector<SkippedRecord> take_skipped();
  /// Text that went into documents so far, in bytes.
  int64_t text_bytes() const { return text_bytes_; }

  StreamPosition position() const;
  /// Three steps to go to a position, each for all streams of a rank: forget what was read, the place in each source,
  /// the document that is partly in rows. Throw DataError.
  void reset();
  void go(const StreamPosition& position);
  void read_partly_taken(const StreamPosition& position);

 private:
  SourceShare& furthest_behind();
  void take(Document& document);
  bool take_from(SourceShare& share, Document& document);

  std::vector<SourceShare> shares_;
  const Tokenizer* tokenizer_;
  RowShape shape_;
  Packer packer_;
  SourceShare* current_ = nullptr;    // of the last document
  RecordWalk::Place document_place_;  // where the last document came from
  int64_t text_bytes_ = 0;
};

}  // namespace lmnet
