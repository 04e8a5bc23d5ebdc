#pragma once
#include "data/row_reader.h"

namespace lmnet {

/// Objects of JSON, a line each.
class JsonLines : public TextRowReader {
 public:
  explicit JsonLines(const std::filesystem::path& file) : TextRowReader(file, {}) {}

 private:
  bool read(Row& row) override;
};

/// Objects of JSON, in one list or one after the other, over as many lines as they like.
class JsonObjects : public TextRowReader {
 public:
  explicit JsonObjects(const std::filesystem::path& file);

 private:
  bool read(Row& row) override;
  bool end_of_list(const Row& row);
  void read_object(std::string& json);

  bool list_ = false;
  bool ended_ = false;
};

/// What there is in the file; `whole_file`: its name says that it is one JSON text rather than lines of it.
std::unique_ptr<RowReader> open_json(const std::filesystem::path& file, bool whole_file);

}  // namespace lmnet
