#pragma once
#include <cstdint>
#include <vector>

#include "data/document.h"
#include "data/unit.h"

namespace lmnet {

/// Documents of a unit of prepared data in order, read some at a time. Keeps no file open, so that thousands of streams
/// need no handles.
class PreparedDocuments {
 public:
  /// From document `begin` of the shard on; reads about so many bytes of tokens at once.
  PreparedDocuments(const Unit& unit, int64_t begin, size_t bytes);

  /// Of the next document.
  int64_t number() const { return number_; }
  /// False at the end. Throws DataError.
  bool next(Document& document);

 private:
  void read();

  const Unit& unit_;
  int64_t number_, at_once_;
  std::vector<Document> documents_;
  size_t at_ = 0;
};

}  // namespace lmnet
