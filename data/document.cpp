#include "data/document.h"

#include <algorithm>
#include <utility>

#include "data/chat.h"

namespace lmnet {

size_t size_of(const Entry& entry) {
  if (const Record* record = std::get_if<Record>(&entry)) return record->bytes();
  return std::get<Document>(entry).tokens.size() * sizeof(int32_t);
}

Document make_document(const Tokenizer& tokenizer, const Record& record) {
  if (!record.messages.empty()) {
    ChatTokens chat = encode_chat(tokenizer, record.messages);
    Document document{std::move(chat.ids), std::move(chat.learn)};
    document.tokens.push_back(tokenizer.end_of_text());
    document.learn.push_back(0);
    return document;
  }
  Document document{prompt_tokens(tokenizer, record), {}};
  const size_t prompt = document.tokens.size();
  tokenizer.encode(record.answer, document.tokens);
  document.tokens.push_back(tokenizer.end_of_text());
  document.learn.assign(document.tokens.size(), 1);
  std::fill_n(document.learn.begin(), prompt, uint8_t{0});
  return document;
}

std::vector<int32_t> prompt_tokens(const Tokenizer& tokenizer, const Record& record) {
  std::vector<int32_t> tokens;
  tokenizer.encode(record.prompt, tokens);
  if (record.end_of_prompt) tokens.push_back(tokenizer.end_of_text());
  return tokens;
}

bool fit(Document& document, const RowShape& shape) {
  if (shape.packing) return true;
  const size_t length = std::min(document.tokens.size(), static_cast<size_t>(shape.length));
  document.tokens.resize(length);
  document.learn.resize(length);
  document.learn[0] = 0;
  return std::find(document.learn.begin(), document.learn.end(), 1) != document.learn.end();
}

}  // namespace lmnet
