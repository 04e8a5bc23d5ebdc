#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/packer.h"
#include "data/record_walk.h"

namespace lmnet {

/// One stream's share of one source.
struct SourceShare {
  RecordWalk walk;
  double weight = 1;
  int64_t tokens = 0;   // taken so far
  bool barren = false;  // a whole epoch of it taught nothing: left out from then on
};

/// One of the S streams: mixes its shares, each next document coming from the share that is furthest behind its weight,
/// and cuts them into rows.
class Stream {
 public:
  /// `fingerprint` names the data and options that fix the order; a position of another one is refused.
  Stream(std::vector<SourceShare> shares, const Tokenizer& tokenizer, RowShape shape, std::string fingerprint);

  /// Throws DataError for a bad record, and where no share holds anything to learn.
  void append_row(TokenBatch& batch);

  /// JSON: for each share its place and tokens, which share's document is partly in rows and how far, the token carried
  /// over. restore() throws DataError.
  std::string position() const;
  void restore(const std::string& position);

 private:
  SourceShare& furthest_behind();
  void take(Document& document);
  bool take_from(SourceShare& share, Document& document);

  std::vector<SourceShare> shares_;
  const Tokenizer* tokenizer_;
  RowShape shape_;
  std::string fingerprint_;
  Packer packer_;
  SourceShare* current_ = nullptr;    // of the last document
  RecordWalk::Place document_place_;  // where the last document came from
};

}  // namespace lmnet
