#include "data/text_stream.h"

#include <utility>

#include "data/utf8.h"

namespace lmnet {

std::string TextStream::push(int32_t id) {
  pending_ += tokenizer_->decode({&id, 1});
  size_t end = 0;
  while (end < pending_.size()) {
    const Utf8Step step = utf8_step(std::string_view(pending_).substr(end));
    if (step.kind == Utf8::incomplete) break;
    end += step.length;
  }
  std::string text;
  append_replaced(std::string_view(pending_).substr(0, end), text);
  pending_.erase(0, end);
  return text;
}

std::string TextStream::finish() {
  std::string text;
  append_replaced(std::exchange(pending_, {}), text);
  return text;
}

}  // namespace lmnet
