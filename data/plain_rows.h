#pragma once
#include "data/format_spec.h"
#include "data/row_reader.h"

namespace lmnet {

/// Texts with blank lines between them, in the column `text`.
class Paragraphs : public TextRowReader {
 public:
  explicit Paragraphs(const std::filesystem::path& file) : TextRowReader(file, {"text"}) {}

 private:
  bool read(Row& row) override;

  std::string line_text_;
};

/// A row a line that is not blank: in the column `text`, or split into several, of which the last takes what is left.
/// Blanks around a column are no part of it.
class Lines : public TextRowReader {
 public:
  Lines(const std::filesystem::path& file, const FormatSpec& spec)
      : TextRowReader(file, spec.header.empty() ? std::vector<std::string>{"text"} : spec.header), split_(spec.split) {}

 private:
  bool read(Row& row) override;

  std::string split_;
  std::string line_text_;
};

}  // namespace lmnet
