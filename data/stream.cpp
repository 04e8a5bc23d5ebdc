#include "data/stream.h"

#include <iterator>
#include <utility>

#include "data/errors.h"

namespace lmnet {

Stream::Stream(std::vector<SourceShare> shares, const Tokenizer& tokenizer, RowShape shape)
    : shares_(std::move(shares)), tokenizer_(&tokenizer), shape_(shape), packer_(tokenizer, shape) {}

void Stream::append_row(TokenBatch& batch) {
  const auto next = [this](Document& document) {
    take(document);
    return true;
  };
  packer_.append_row(next, batch);
}

std::vector<SkippedRecord> Stream::take_skipped() {
  std::vector<SkippedRecord> all;
  for (SourceShare& share : shares_) {
    std::vector<SkippedRecord> some = share.walk.take_skipped();
    all.insert(all.end(), std::make_move_iterator(some.begin()), std::make_move_iterator(some.end()));
  }
  return all;
}

SourceShare& Stream::furthest_behind() {
  SourceShare* chosen = nullptr;
  bool limited = false;
  for (SourceShare& share : shares_) {
    if (share.walk.empty() || share.ended) continue;
    if (share.tokens >= share.most_tokens) {
      limited = true;
      continue;
    }
    const auto progress = [](const SourceShare& of) { return static_cast<double>(of.tokens) / of.weight; };
    if (!chosen || progress(share) < progress(*chosen)) chosen = &share;
  }
  if (chosen) return *chosen;
  for (const SourceShare& share : shares_) limited |= share.walk.ended();
  if (limited)
    throw DataError(
        "the training data is used up: every source has given the epochs or tokens that data.train allows it; allow "
        "more, or lower train.stages until");
  throw DataError(
      "the records of one of the data streams hold nothing to learn: none at all, or their prompts fill "
      "data.sequence_length; raise data.sequence_length, lower data.streams or set data.packing: true");
}

void Stream::take(Document& document) {
  do {
    current_ = &furthest_behind();
    current_->ended = !take_from(*current_, document);
  } while (current_->ended);
  current_->tokens += static_cast<int64_t>(document.tokens.size());
}

bool Stream::take_from(SourceShare& share, Document& document) {
  Entry entry;
  do {
    document_place_ = share.walk.place();
    if (!share.walk.next(entry)) return false;
    if (const Record* record = std::get_if<Record>(&entry)) {
      text_bytes_ += static_cast<int64_t>(record->bytes());
      document = make_document(*tokenizer_, *record);
    } else {
      document = std::move(std::get<Document>(entry));
    }
  } while (!fit(document, shape_));
  share.walk.learnt();
  return true;
}

StreamPosition Stream::position() const {
  StreamPosition position;
  position.shares.reserve(shares_.size());
  for (const SourceShare& share : shares_) {
    // A document that is partly in rows is read again.
    const bool partly = packer_.in_document() && &share == current_;
    position.shares.push_back({partly ? document_place_ : share.walk.place(), share.tokens, share.ended});
  }
  if (packer_.in_document()) position.current = current_ - shares_.data();
  position.taken = packer_.taken();
  position.carry = packer_.carry();
  return position;
}

void Stream::reset() {
  for (SourceShare& share : shares_) share.walk.reset();
}

void Stream::go(const StreamPosition& position) {
  if (position.shares.size() != shares_.size() || position.current >= std::ssize(shares_) ||
      (position.current >= 0 && shares_[position.current].walk.empty()))
    throw DataError("the stored data position is damaged: it names a source that is not there");
  for (size_t i = 0; i < shares_.size(); ++i) {
    shares_[i].tokens = position.shares[i].tokens;
    shares_[i].ended = position.shares[i].ended;
    if (!shares_[i].walk.empty()) shares_[i].walk.go(position.shares[i].place);
  }
  current_ = nullptr;
  packer_.restore(position.carry, {}, 0);
}

void Stream::read_partly_taken(const StreamPosition& position) {
  if (position.current < 0) return;
  Document document;
  current_ = &shares_[position.current];
  if (!take_from(*current_, document) || position.taken < 0 || position.taken >= std::ssize(document.tokens))
    throw DataError("the stored data position lies outside its record; were the data files changed?");
  packer_.restore(position.carry, std::move(document), position.taken);
}

}  // namespace lmnet
