#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace lmnet {

/// A token that is cut out of the text before all else.
struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool special = true;      // recognised only where that is asked for
  bool normalized = false;  // looked for after Unicode normalisation, not before
};

/// Finds added tokens in a text: the leftmost, of several there the longest.
class AddedTokens {
 public:
  explicit AddedTokens(std::vector<AddedToken> tokens);
  AddedTokens(const AddedTokens&) = delete;
  AddedTokens& operator=(const AddedTokens&) = delete;

  /// Calls `plain(text)` and `token(id)` in the order of the text. Special tokens count as plain text unless `special`.
  template <class Plain, class Token>
  void cut(std::string_view text, bool special, const Plain& plain, const Token& token) const {
    size_t begin = 0;
    if (special || has_regular_) {
      for (size_t at = next_start(text, 0); at < text.size(); at = next_start(text, at)) {
        const AddedToken* found = match(text.substr(at));
        if (found == nullptr) {
          ++at;
          continue;
        }
        // As in Hugging Face, a special token that stays text also hides what begins within it.
        if (special || !found->special) {
          if (at > begin) plain(text.substr(begin, at - begin));
          token(found->id);
          begin = at + found->content.size();
        }
        at += found->content.size();
      }
    }
    if (begin < text.size()) plain(text.substr(begin));
  }

 private:
  size_t next_start(std::string_view text, size_t at) const {
    while (at < text.size() && lengths_[static_cast<uint8_t>(text[at])].empty()) ++at;
    return at;
  }
  const AddedToken* match(std::string_view text) const;

  std::vector<AddedToken> tokens_;
  std::unordered_map<std::string_view, const AddedToken*> by_content_;  // into tokens_
  std::array<std::vector<size_t>, 256> lengths_;  // those that there are with a first byte, the longest first
  bool has_regular_ = false;
};

}  // namespace lmnet
