#include "data/added_tokens.h"

#include <algorithm>
#include <utility>

namespace lmnet {

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::stable_sort(tokens_.begin(), tokens_.end(),
                   [](const AddedToken& a, const AddedToken& b) { return a.content.size() > b.content.size(); });
  for (const AddedToken& token : tokens_) {
    const std::string_view content = token.content;
    std::vector<size_t>& lengths = lengths_[static_cast<uint8_t>(content.front())];
    if (lengths.empty() || lengths.back() != content.size()) lengths.push_back(content.size());
    by_content_.emplace(content, &token);
    has_regular_ |= !token.special;
  }
}

const AddedToken* AddedTokens::match(std::string_view text) const {
  for (const size_t length : lengths_[static_cast<uint8_t>(text.front())]) {
    if (length > text.size()) continue;
    if (const auto found = by_content_.find(text.substr(0, length)); found != by_content_.end()) return found->second;
  }
  return nullptr;
}

}  // namespace lmnet
