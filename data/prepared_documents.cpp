#include "data/prepared_documents.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "data/errors.h"
#include "data/token_index.h"
#include "data/token_shard.h"

namespace lmnet {
namespace {

constexpr int64_t least_tokens = 16 << 10, most_documents = 1024;

}  // namespace

PreparedDocuments::PreparedDocuments(const Unit& unit, int64_t begin, size_t bytes)
    : unit_(unit), number_(begin), at_once_(std::max(least_tokens, static_cast<int64_t>(bytes / sizeof(int32_t)))) {}

bool PreparedDocuments::next(Document& document) {
  if (at_ == documents_.size()) {
    if (number_ >= unit_.first + unit_.count) return false;
    read();
  }
  document = std::move(documents_[at_++]);
  ++number_;
  return true;
}

void PreparedDocuments::read() {
  at_ = 0;
  documents_.clear();
  const TokenShardReader reader(unit_.file);
  if (reader.shard().fingerprint != *unit_.prepared)
    throw DataError(fmt::format("{}: belongs to other data than its {}: copy it again, or prepare the data again",
                                unit_.file.string(), TokenIndex::file_name));
  reader.read(number_, std::min(unit_.first + unit_.count - number_, most_documents), at_once_, documents_);
}

}  // namespace lmnet
