#include "data/plain_rows.h"

#include <fmt/format.h>

#include "data/blanks.h"
#include "data/errors.h"

namespace lmnet {

bool Paragraphs::read(Row& row) {
  row.cells.resize(1);
  std::string& text = row.cells[0];
  text.clear();
  if (!read_line(line_text_)) return false;
  row.line = line_;
  do {
    if (is_blank(line_text_)) break;
    if (!text.empty()) text += '\n';
    text += line_text_;
    check_size(text.size(), "blank lines separate the texts");
    // A line of its own for what ends the text.
  } while (bytes_.read_line(line_text_) && ++line_);
  return true;
}

bool Lines::read(Row& row) {
  if (!read_line(line_text_)) return false;
  row.line = line_;
  row.cells.clear();
  std::string_view rest = line_text_;
  while (!split_.empty() && row.cells.size() + 1 < columns_.size()) {
    const size_t end = rest.find(split_);
    if (end == rest.npos)
      throw BadRecord(
          fmt::format("has {} columns with {} between them, not {}", row.cells.size() + 1, split_, columns_.size()));
    row.cells.emplace_back(trimmed(rest.substr(0, end)));
    rest.remove_prefix(end + split_.size());
  }
  row.cells.emplace_back(split_.empty() ? rest : trimmed(rest));
  return true;
}

}  // namespace lmnet
