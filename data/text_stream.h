#pragma once
#include <cstdint>
#include <string>

#include "data/tokenizer.h"

namespace lmnet {

/// Tokens to text while they come: gives out whole characters only, since a token may end within one. All that it gives
/// out is valid UTF-8: together the decoded bytes, with U+FFFD where Python's errors="replace" has it. The tokenizer
/// must outlive it.
class TextStream {
 public:
  explicit TextStream(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}

  /// What `id` completes, often nothing.
  std::string push(int32_t id);
  /// What is left of a character whose end did not come; the stream is then as new.
  std::string finish();

 private:
  const Tokenizer* tokenizer_;
  std::string pending_;  // the beginning of a character
};

}  // namespace lmnet
