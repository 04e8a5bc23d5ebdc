#include "data/stream.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "data/errors.h"

namespace lmnet {

Stream::Stream(std::vector<SourceShare> shares, const Tokenizer& tokenizer, RowShape shape, std::string fingerprint)
    : shares_(std::move(shares)),
      tokenizer_(&tokenizer),
      shape_(shape),
      fingerprint_(std::move(fingerprint)),
      packer_(tokenizer, shape) {}

void Stream::append_row(TokenBatch& batch) {
  const auto next = [this](Document& document) {
    take(document);
    return true;
  };
  packer_.append_row(next, batch);
}

SourceShare& Stream::furthest_behind() {
  SourceShare* chosen = nullptr;
  for (SourceShare& share : shares_) {
    if (share.walk.empty() || share.barren) continue;
    const auto progress = [](const SourceShare& of) { return static_cast<double>(of.tokens) / of.weight; };
    if (!chosen || progress(share) < progress(*chosen)) chosen = &share;
  }
  if (!chosen) {
    throw DataError(
        "the records of one of the data streams hold nothing to learn: none at all, or their prompts fill "
        "data.sequence_length; raise data.sequence_length, lower data.streams or set data.packing: true");
  }
  return *chosen;
}

void Stream::take(Document& document) {
  do {
    current_ = &furthest_behind();
    current_->barren = !take_from(*current_, document);
  } while (current_->barren);
  current_->tokens += static_cast<int64_t>(document.tokens.size());
}

bool Stream::take_from(SourceShare& share, Document& document) {
  Record record;
  do {
    document_place_ = share.walk.place();
    if (!share.walk.next(record)) return false;
  } while (!make_document(*tokenizer_, record, shape_, document));
  share.walk.learnt();
  return true;
}

std::string Stream::position() const {
  auto shares = nlohmann::json::array();
  for (const SourceShare& share : shares_) {
    // A document that is partly in rows is read again by restore().
    const bool partly = packer_.in_document() && &share == current_;
    const RecordWalk::Place& place = partly ? document_place_ : share.walk.place();
    shares.push_back({{"epoch", place.epoch},
                      {"unit", place.unit},
                      {"block", place.block},
                      {"record", place.record},
                      {"tokens", share.tokens},
                      {"barren", share.barren}});
  }
  const int64_t current = packer_.in_document() ? current_ - shares_.data() : -1;
  return nlohmann::json{{"data", fingerprint_},
                        {"sources", shares},
                        {"current", current},
                        {"taken", packer_.taken()},
                        {"carry", packer_.carry()}}
      .dump();
}

void Stream::restore(const std::string& position) {
  try {
    const auto json = nlohmann::json::parse(position);
    if (json.at("data").get<std::string>() != fingerprint_) {
      throw DataError(
          "the stored data position belongs to other data: the files, weights, seed, tokenizer, sequence length, "
          "packing "
          "and streams must be those the run was started with");
    }
    for (size_t i = 0; i < shares_.size(); ++i) {
      const auto& stored = json.at("sources").at(i);
      shares_[i].tokens = stored.at("tokens");
      shares_[i].barren = stored.at("barren");
      if (shares_[i].walk.empty()) continue;
      shares_[i].walk.go({stored.at("epoch"), stored.at("unit"), stored.at("block"), stored.at("record")});
    }
    Document document;
    const int64_t current = json.at("current");
    const int64_t taken = json.at("taken");
    if (current >= 0) {
      current_ = &shares_.at(static_cast<size_t>(current));
      if (current_->walk.empty()) throw std::out_of_range("a source without records here");
      take_from(*current_, document);
      if (taken < 0 || taken >= static_cast<int64_t>(document.tokens.size())) {
        throw DataError("the stored data position lies outside its record; were the data files changed?");
      }
    }
    packer_.restore(json.at("carry"), std::move(document), taken);
  } catch (const nlohmann::json::exception& error) {
    throw DataError(fmt::format("the stored data position is damaged: {}", error.what()));
  } catch (const std::out_of_range&) {
    throw DataError("the stored data position is damaged: it names a source that is not there");
  }
}

}  // namespace lmnet
