#include "data/byte_level_tokenizer.h"

#include <simdjson.h>

#include <algorithm>
#include <utility>

#include "data/normal_form.h"
#include "data/piece_cache.h"
#include "data/utf8.h"

namespace lmnet {
namespace {

/// The added tokens that are looked for before (`normalized` false) or after normalisation: as in Hugging Face, in this
/// order also where nothing is normalised.
std::vector<AddedToken> added_tokens(const TokenizerSpec& spec, bool normalized) {
  NormalForm normal_form;
  std::vector<AddedToken> tokens;
  for (AddedToken token : spec.added) {
    if (token.normalized != normalized) continue;
    if (normalized && spec.nfc) token.content = std::string(normal_form(token.content));
    tokens.push_back(std::move(token));
  }
  return tokens;
}

}  // namespace

struct ByteLevelTokenizer::Scratch {
  explicit Scratch(size_t patterns) : matchers(patterns) {}
  PieceCache cache;
  NormalForm normal_form;
  std::vector<SplitPattern::Matcher> matchers;  // one a pattern
};

/// A scratch space for the time of one call.
class ByteLevelTokenizer::Borrowed {
 public:
  explicit Borrowed(const ByteLevelTokenizer& owner) : owner_(owner) {
    const std::lock_guard lock(owner_.mutex_);
    if (!owner_.idle_.empty()) {
      scratch_ = std::move(owner_.idle_.back());
      owner_.idle_.pop_back();
    }
  }
  ~Borrowed() {
    if (scratch_ == nullptr) return;
    const std::lock_guard lock(owner_.mutex_);
    owner_.idle_.push_back(std::move(scratch_));
  }
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;

  Scratch& operator*() {
    if (scratch_ == nullptr) scratch_ = std::make_unique<Scratch>(owner_.patterns_.size());
    return *scratch_;
  }

 private:
  const ByteLevelTokenizer& owner_;
  std::unique_ptr<Scratch> scratch_;
};

ByteLevelTokenizer::ByteLevelTokenizer(std::string name, TokenizerSpec spec, std::vector<std::filesystem::path> files,
                                       std::string hash)
    : name_(std::move(name)),
      tokens_(std::move(spec.vocabulary.tokens)),
      bpe_(spec.vocabulary.bytes, spec.vocabulary.merges),
      raw_(added_tokens(spec, false)),
      normalized_(added_tokens(spec, true)),
      patterns_(std::move(spec.patterns)),
      nfc_(spec.nfc),
      end_of_text_(spec.end_of_text),
      padding_(spec.padding),
      files_(std::move(files)),
      hash_(std::move(hash)) {
  size_t size = tokens_.size();
  for (const AddedToken& token : spec.added) size = std::max(size, static_cast<size_t>(token.id) + 1);
  tokens_.resize(size);
  special_.resize(size);
  std::vector<bool> added(size);
  for (const AddedToken& token : spec.added) {
    const auto id = static_cast<size_t>(token.id);
    tokens_[id] = token.content;
    special_[id] = token.special;
    added[id] = true;
  }
  for (size_t id = 0; spec.whole_words && id < size; ++id)
    if (!added[id] && !tokens_[id].empty()) words_.emplace(tokens_[id], static_cast<int32_t>(id));
  special_[static_cast<size_t>(end_of_text_)] = special_[static_cast<size_t>(padding_)] = true;
  for (size_t id = 0; id < size; ++id)
    if (special_[id]) special_ids_.emplace(tokens_[id], static_cast<int32_t>(id));
}

ByteLevelTokenizer::~ByteLevelTokenizer() = default;

std::optional<int32_t> ByteLevelTokenizer::special(std::string_view content) const {
  const auto found = special_ids_.find(content);
  return found == special_ids_.end() ? std::nullopt : std::optional(found->second);
}

void ByteLevelTokenizer::cut_raw(std::string_view text, bool special, std::vector<int32_t>& ids) const {
  Borrowed scratch(*this);
  const auto plain = [&](std::string_view part) {
    if (simdjson::validate_utf8(part.data(), part.size())) return cut_normalized(part, special, *scratch, ids);
    for_each_utf8_run(part, [&](std::string_view run, bool valid) {
      valid ? cut_normalized(run, special, *scratch, ids) : merge(run, ids);
    });
  };
  raw_.cut(text, special, plain, [&](int32_t id) { ids.push_back(id); });
}

void ByteLevelTokenizer::cut_normalized(std::string_view text, bool special, Scratch& scratch,
                                        std::vector<int32_t>& ids) const {
  if (nfc_) text = scratch.normal_form(text);
  normalized_.cut(
      text, special, [&](std::string_view part) { split(part, 0, scratch, ids); },
      [&](int32_t id) { ids.push_back(id); });
}

void ByteLevelTokenizer::split(std::string_view text, size_t pattern, Scratch& scratch,
                               std::vector<int32_t>& ids) const {
  if (pattern == patterns_.size()) return encode_piece(text, scratch, ids);
  patterns_[pattern].split(text, scratch.matchers[pattern],
                           [&](std::string_view piece) { split(piece, pattern + 1, scratch, ids); });
}

void ByteLevelTokenizer::encode_piece(std::string_view piece, Scratch& scratch, std::vector<int32_t>& ids) const {
  if (piece.size() > PieceCache::kBytes) return merge(piece, ids);
  PieceCache::Entry& entry = scratch.cache.place(piece);
  if (!entry.holds(piece)) {
    const size_t begin = ids.size();
    merge(piece, ids);
    entry.store(piece, std::span(ids).subspan(begin));
  } else {
    ids.insert(ids.end(), entry.ids.begin(), entry.ids.begin() + entry.count);
  }
}

void ByteLevelTokenizer::merge(std::string_view piece, std::vector<int32_t>& ids) const {
  if (const auto whole = words_.find(piece); whole != words_.end()) {
    ids.push_back(whole->second);
  } else {
    bpe_.encode(piece, ids);
  }
}

std::string ByteLevelTokenizer::join(std::span<const int32_t> ids, bool special) const {
  std::string text;
  for (const int32_t id : ids) {
    const auto place = static_cast<size_t>(id);
    if (id >= 0 && place < tokens_.size() && (special || !special_[place])) text += tokens_[place];
  }
  return text;
}

}  // namespace lmnet
