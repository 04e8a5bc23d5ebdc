#pragma once
#include "data/row_reader.h"

namespace lmnet {

/// Rows of csv (RFC 4180): cells between `separator`, in quotes where they hold one, a line end or a quote, which is
/// then doubled. The first row names the columns, unless `header` does.
class CsvRows : public TextRowReader {
 public:
  /// Throws BrokenFile where the first row is broken.
  CsvRows(const std::filesystem::path& file, char separator, std::vector<std::string> header);

 private:
  bool read(Row& row) override;
  bool read_cells(std::vector<std::string>& cells);
  // `before`: bytes of the row's other cells.
  void read_quoted(std::string& cell, size_t before);
  void read_bare(std::string& cell, size_t before);

  char separator_;
};

}  // namespace lmnet
