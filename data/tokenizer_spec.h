#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "data/added_tokens.h"
#include "data/bpe.h"
#include "data/errors.h"
#include "data/json_file.h"
#include "data/split_pattern.h"

namespace lmnet {

/// The ids of a byte-level vocabulary, checked.
struct Vocabulary {
  std::vector<std::string> tokens;  // the bytes of each id; empty where no token has it
  std::array<int32_t, 256> bytes;   // the id of each byte
  std::vector<BpeMerge> merges;
};

/// What the files of a byte-level BPE tokenizer say.
struct TokenizerSpec {
  Vocabulary vocabulary;
  std::vector<AddedToken> added;
  std::vector<SplitPattern> patterns;  // each cuts the pieces of the one before
  bool nfc = false;                    // Unicode normalisation before splitting
  bool whole_words = false;            // a piece that is a token is not built by merges ("ignore_merges")
  int32_t end_of_text = 0;
  int32_t padding = 0;
};

/// Collects the tokens and merges as vocab.json writes them: each byte as a printable character (bytes_to_unicode of
/// GPT-2). Throws DataError (without a file's name) for ids that are negative, taken or far above the number of tokens,
/// for a byte without a token and for a merge of or into what is no token.
class VocabularyBuilder {
 public:
  void add(std::string_view token, int64_t id);
  /// In order of rank. After all tokens.
  void add_merge(std::string_view left, std::string_view right);
  Vocabulary finish();

 private:
  std::optional<int32_t> find(std::string_view token) const;

  std::unordered_map<std::string, int32_t> ids_;
  std::vector<BpeMerge> merges_;
};

/// Adds the tokens of `{token: id}`, which stands in `file`. Throws DataError naming the file.
void add_tokens(const JsonValue& tokens, const std::filesystem::path& file, VocabularyBuilder& vocabulary);

/// Two tokens as a merge has them in text: `a b`, with exactly one blank; nothing where it is not that.
std::optional<std::pair<std::string_view, std::string_view>> token_pair(std::string_view text);

/// Runs `work`; a DataError from it gets the file's name put in front.
template <class Work>
auto naming(const std::filesystem::path& file, const Work& work) {
  try {
    return work();
  } catch (const DataError& error) {
    throw DataError(file.string() + ": " + error.what());
  }
}

/// Throws DataError for an id that is negative or that makes `entries` tokens a list with huge gaps.
int32_t checked_id(int64_t id, size_t entries);

}  // namespace lmnet
