#pragma once
#include <cstdint>
#include <filesystem>
#include <vector>

#include "data/document.h"

namespace lmnet {

/// Documents of a shard of prepared data in order, read some at a time. Keeps no file open, so that thousands of
/// streams need no handles.
class PreparedDocuments {
 public:
  /// Documents [begin, end) of the shard; reads about so many bytes of tokens at once.
  PreparedDocuments(std::filesystem::path shard, int64_t begin, int64_t end, size_t bytes);

  /// Of the next document.
  int64_t number() const { return number_; }
  /// False at the end. Throws DataError.
  bool next(Document& document);

 private:
  std::filesystem::path shard_;
  int64_t number_, end_, at_once_;
  std::vector<Document> documents_;
  size_t at_ = 0;
};

}  // namespace lmnet
