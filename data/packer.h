#pragma once
#include <cstdint>
#include <functional>

#include "data/document.h"
#include "data/loader.h"

namespace lmnet {

/// Cuts documents into the rows of a batch. With packing they follow one another without a gap, and the last token of a
/// row is the first of the next, so that every token is a target exactly once; before the first document stands an end
/// of text. Where documents are told apart, one whose first token is learnt begins with the end of text before it, so
/// that it is still a target; others begin with their own first token, and move to the next row where the rest of a row
/// would cut them. Without packing each document has a row of its own, cut off or padded.
class Packer {
 public:
  using NextDocument = std::function<bool(Document&)>;  // false: there are no more

  Packer(const Tokenizer& tokenizer, RowShape shape);

  /// Appends one row's tokens and mask, padded where documents end; false where none is left (nothing is appended).
  bool append_row(const NextDocument& next, TokenBatch& batch);

  /// Between two rows: the token carried over; and, while a document is partly in rows, how much of it.
  int32_t carry() const { return carry_; }
  int64_t taken() const { return in_document() ? taken_ : 0; }
  bool in_document() const { return taken_ < static_cast<int64_t>(document_.tokens.size()); }
  void restore(int32_t carry, Document document, int64_t taken);

 private:
  bool append_packed(const NextDocument& next, TokenBatch& batch);
  bool moves_on(int64_t space) const;

  RowShape shape_;
  int32_t padding_;
  int32_t carry_;
  Document document_;
  int64_t taken_ = 0;
};

}  // namespace lmnet
