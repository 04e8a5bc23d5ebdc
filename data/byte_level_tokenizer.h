#pragma once
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/tokenizer.h"
#include "data/tokenizer_spec.h"

namespace lmnet {

/// Byte-level BPE: added tokens are cut out, the rest is normalised, split into pieces, and each piece merged from its
/// bytes. What is no UTF-8 is a piece of its own, neither normalised nor split, so that no byte is lost.
///
/// Safe to use from several threads: each call works with a scratch space (regular expression state and a cache of
/// pieces, 2 MiB) that is its own for the time of the call and goes back to a list for later ones; so there are as many
/// as calls ever ran at once.
class ByteLevelTokenizer final : public Tokenizer {
 public:
  ByteLevelTokenizer(std::string name, TokenizerSpec spec, std::vector<std::filesystem::path> files, std::string hash);
  ~ByteLevelTokenizer() override;

  std::string name() const override { return name_; }
  int64_t vocabulary() const override { return static_cast<int64_t>(tokens_.size()); }
  int32_t end_of_text() const override { return end_of_text_; }
  int32_t padding() const override { return padding_; }
  void encode(std::string_view text, std::vector<int32_t>& ids) const override { cut_raw(text, false, ids); }
  void encode_special(std::string_view text, std::vector<int32_t>& ids) const override { cut_raw(text, true, ids); }
  std::string decode(std::span<const int32_t> ids) const override { return join(ids, false); }
  std::string decode_special(std::span<const int32_t> ids) const override { return join(ids, true); }
  std::optional<int32_t> special(std::string_view content) const override;
  std::vector<std::filesystem::path> files() const override { return files_; }
  std::string hash() const override { return hash_; }

 private:
  struct Scratch;
  class Borrowed;

  void cut_raw(std::string_view text, bool special, std::vector<int32_t>& ids) const;
  void cut_normalized(std::string_view text, bool special, Scratch& scratch, std::vector<int32_t>& ids) const;
  void split(std::string_view text, size_t pattern, Scratch& scratch, std::vector<int32_t>& ids) const;
  void encode_piece(std::string_view piece, Scratch& scratch, std::vector<int32_t>& ids) const;
  void merge(std::string_view piece, std::vector<int32_t>& ids) const;
  std::string join(std::span<const int32_t> ids, bool special) const;

  std::string name_;
  std::vector<std::string> tokens_;  // the bytes of each id, added tokens included
  std::vector<bool> special_;
  std::unordered_map<std::string_view, int32_t> special_ids_;  // by content, into tokens_
  std::unordered_map<std::string_view, int32_t> words_;        // into tokens_; empty where merges alone build tokens
  Bpe bpe_;
  AddedTokens raw_, normalized_;
  std::vector<SplitPattern> patterns_;
  bool nfc_;
  int32_t end_of_text_, padding_;
  std::vector<std::filesystem::path> files_;
  std::string hash_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Scratch>> idle_;
};

}  // namespace lmnet
