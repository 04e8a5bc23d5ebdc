#include "data/csv_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "data/blanks.h"
#include "data/errors.h"

namespace lmnet {

CsvRows::CsvRows(const std::filesystem::path& file, char separator, std::vector<std::string> header)
    : TextRowReader(file, std::move(header)), separator_(separator) {
  try {
    if (columns_.empty()) read_cells(columns_);
  } catch (const BadRecord& bad) {
    throw BrokenFile(fmt::format("the row that names the columns has {}", bad.what()));
  }
}

bool CsvRows::read(Row& row) {
  if (!read_cells(row.cells)) return false;
  if (row.cells.size() != columns_.size())
    throw BadRecord(fmt::format("has {} columns, not {}", row.cells.size(), columns_.size()));
  return true;
}

/// Of the next row that is not an empty line; false at the end.
bool CsvRows::read_cells(std::vector<std::string>& cells) {
  while (bytes_.peek() == '\r' || bytes_.peek() == '\n')
    if (bytes_.get() == '\n') ++line_;
  cells.clear();
  if (bytes_.peek() < 0) return false;
  std::string fault;
  size_t before = 0;
  while (true) {
    std::string& cell = cells.emplace_back();
    if (bytes_.peek() == '"') {
      read_quoted(cell, before);
      std::string behind;
      read_bare(behind, before + cell.size());
      if (!is_blank(behind)) fault = fmt::format("text after the closing quote of column {}", cells.size());
    } else {
      read_bare(cell, before);
      if (cell.ends_with('\r') && bytes_.peek() != separator_) cell.pop_back();
    }
    before += sizeof(std::string) + cell.size();  // many empty cells take memory too
    if (bytes_.peek() != separator_) break;
    bytes_.get();
  }
  if (bytes_.get() == '\n') ++line_;
  if (!fault.empty()) throw BadRecord(fault);
  return true;
}

/// Up to the quote that closes it.
void CsvRows::read_quoted(std::string& cell, size_t before) {
  bytes_.get();
  while (true) {
    const std::string_view rest = bytes_.rest();
    if (rest.empty())
      throw BrokenFile("the file is cut off inside this record, or the quote that closes a cell is missing");
    const size_t end = std::min(rest.find('"'), rest.size());
    cell.append(rest.substr(0, end));
    line_ += std::ranges::count(rest.substr(0, end), '\n');
    bytes_.take(end);
    check_size(before + cell.size(), "a quote is missing");
    if (end == rest.size()) continue;
    bytes_.get();
    if (bytes_.peek() != '"') return;
    cell += static_cast<char>(bytes_.get());
  }
}

/// Up to the next separator or the end of the line.
void CsvRows::read_bare(std::string& cell, size_t before) {
  const char ends[] = {separator_, '\n'};
  for (std::string_view rest = bytes_.rest(); !rest.empty(); rest = bytes_.rest()) {
    const size_t end = std::min(rest.find_first_of(std::string_view(ends, 2)), rest.size());
    cell.append(rest.substr(0, end));
    bytes_.take(end);
    check_size(before + cell.size(), "a quote is missing, or this is no csv file");
    if (end < rest.size()) return;
  }
}

}  // namespace lmnet
