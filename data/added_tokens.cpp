#include "data/added_tokens.h"

#include <algorithm>
#include <utility>

namespace lmnet {

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::stable_sort(tokens_.begin(), tokens_.end(),
                   [](const AddedToken& a, const AddedToken& b) { return a.content.size() > b.content.size(); });
  for (uint32_t i = 0; i < tokens_.size(); ++i) {
    starts_[static_cast<uint8_t>(tokens_[i].content.front())].push_back(i);
    has_regular_ |= !tokens_[i].special;
  }
}

const AddedToken* AddedTokens::match(std::string_view text) const {
  for (const uint32_t i : starts_[static_cast<uint8_t>(text.front())])
    if (text.starts_with(tokens_[i].content)) return &tokens_[i];
  return nullptr;
}

}  // namespace lmnet
