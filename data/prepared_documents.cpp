#include "data/prepared_documents.h"

#include <algorithm>
#include <utility>

#include "data/token_shard.h"

namespace lmnet {
namespace {

constexpr int64_t least_tokens = 16 << 10, most_documents = 1024;

}  // namespace

PreparedDocuments::PreparedDocuments(std::filesystem::path shard, int64_t begin, int64_t end, size_t bytes)
    : shard_(std::move(shard)),
      number_(begin),
      end_(end),
      at_once_(std::max(least_tokens, static_cast<int64_t>(bytes / sizeof(int32_t)))) {}

bool PreparedDocuments::next(Document& document) {
  if (at_ == documents_.size()) {
    if (number_ >= end_) return false;
    at_ = 0;
    documents_.clear();
    TokenShardReader(shard_).read(number_, std::min(end_ - number_, most_documents), at_once_, documents_);
  }
  document = std::move(documents_[at_++]);
  ++number_;
  return true;
}

}  // namespace lmnet
