#include "data/row_reader.h"

#include <fmt/format.h>

#include "data/blanks.h"
#include "data/csv_rows.h"
#include "data/data_files.h"
#include "data/errors.h"
#include "data/format_spec.h"
#include "data/json_rows.h"
#include "data/plain_rows.h"

namespace lmnet {
bool TextRowReader::next(Row& row) {
  row.json.clear();
  row.line = line_ + 1;
  try {
    if (!read(row)) return false;
  } catch (const BadRecord&) {
    ++record_;
    throw;
  }
  ++record_;
  return true;
}

void TextRowReader::go(const Cursor& cursor) {
  bytes_.seek(cursor.offset);
  record_ = cursor.record;
  line_ = cursor.line;
}

bool TextRowReader::read_line(std::string& line) {
  while (bytes_.read_line(line)) {
    ++line_;
    if (!is_blank(line)) return true;
  }
  return false;
}

int TextRowReader::next_visible() {
  while (bytes_.peek() >= 0 && blanks.find(static_cast<char>(bytes_.peek())) != blanks.npos)
    if (bytes_.get() == '\n') ++line_;
  return bytes_.peek();
}

void TextRowReader::check_size(size_t bytes, std::string_view cause) {
  if (bytes > ByteReader::max_record)
    throw BrokenFile(fmt::format("longer than {} MiB: {}", ByteReader::max_record >> 20, cause));
}

std::unique_ptr<RowReader> open_rows(const std::filesystem::path& file, const Format& format) {
  const FormatSpec& spec = format.spec();
  const std::string kind = kind_of_name(file);
  if (kind == ".parquet") return open_parquet(file, format.names());
  if (spec.rows == RowLayout::paragraphs) return std::make_unique<Paragraphs>(file);
  if (spec.rows == RowLayout::lines) return std::make_unique<Lines>(file, spec);
  if (kind == ".csv" || kind == ".tsv")
    return std::make_unique<CsvRows>(file, kind == ".csv" ? ',' : '\t', spec.header);
  return open_json(file, kind == ".json");
}

}  // namespace lmnet
