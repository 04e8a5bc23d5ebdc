#include "data/packer.h"

#include <algorithm>
#include <utility>

namespace lmnet {

Packer::Packer(const Tokenizer& tokenizer, RowShape shape)
    : shape_(shape), padding_(tokenizer.padding()), carry_(tokenizer.end_of_text()) {}

bool Packer::append_row(const NextDocument& next, TokenBatch& batch) {
  const size_t end = batch.tokens.size() + static_cast<size_t>(shape_.length);
  if (shape_.packing) {
    if (!append_packed(next, batch)) return false;
  } else {
    Document document;
    if (!next(document)) return false;
    batch.tokens.insert(batch.tokens.end(), document.tokens.begin(), document.tokens.end());
    batch.learn.insert(batch.learn.end(), document.learn.begin(), document.learn.end());
  }
  batch.tokens.resize(end, padding_);
  batch.learn.resize(end, 0);
  if (!batch.starts.empty()) batch.starts.resize(end, 0);
  return true;
}

bool Packer::append_packed(const NextDocument& next, TokenBatch& batch) {
  const auto more = [&] {
    if (in_document()) return true;
    taken_ = 0;
    document_ = {};
    return next(document_);
  };
  if (!more()) return false;
  batch.tokens.push_back(carry_);
  batch.learn.push_back(0);
  if (shape_.documents) batch.starts.resize(batch.tokens.size(), 0);
  for (int64_t space = shape_.length - 1; space > 0 && more() && !moves_on(space);) {
    if (shape_.documents && taken_ == 0) {
      batch.starts.resize(batch.tokens.size() + 1, 0);
      batch.starts[batch.tokens.size() - document_.learn.front()] = 1;
    }
    const int64_t count = std::min(space, static_cast<int64_t>(document_.tokens.size()) - taken_);
    const auto tokens = document_.tokens.begin() + taken_;
    const auto learn = document_.learn.begin() + taken_;
    batch.tokens.insert(batch.tokens.end(), tokens, tokens + count);
    batch.learn.insert(batch.learn.end(), learn, learn + count);
    taken_ += count;
    space -= count;
  }
  carry_ = batch.tokens.back();
  return true;
}

/// Whether a document that the present row would cut waits for the next one, because its answer needs its prompt.
bool Packer::moves_on(int64_t space) const {
  const auto length = static_cast<int64_t>(document_.tokens.size());
  return shape_.documents && taken_ == 0 && length > space && length < shape_.length && document_.learn.front() == 0;
}

void Packer::restore(int32_t carry, Document document, int64_t taken) {
  carry_ = carry;
  document_ = std::move(document);
  taken_ = taken;
}

}  // namespace lmnet
