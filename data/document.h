#pragma once
#include <cstdint>
#include <variant>
#include <vector>

#include "data/record.h"
#include "data/tokenizer.h"

namespace lmnet {

/// A record as tokens: prompt, answer, end of text. `learn` is 1 on the answer and the end of text; of a chat on what
/// encode_chat() says.
struct Document {
  std::vector<int32_t> tokens;
  std::vector<uint8_t> learn;
};

struct RowShape {
  int64_t length = 0;  // tokens: sequence_length + 1
  bool packing = true;
  bool documents = false;  // with packing: told apart in TokenBatch::starts
};

/// What a source gives: a record, or one that was tokenised before.
using Entry = std::variant<Record, Document>;
/// Bytes of text or tokens.
size_t size_of(const Entry& entry);

Document make_document(const Tokenizer& tokenizer, const Record& record);

/// What stands before the answer of a record that is no chat.
std::vector<int32_t> prompt_tokens(const Tokenizer& tokenizer, const Record& record);

/// Without packing a document has a row of its own, whose first token nothing predicts: cuts off what such a row does
/// not hold. False where it would learn nothing.
bool fit(Document& document, const RowShape& shape);

}  // namespace lmnet
