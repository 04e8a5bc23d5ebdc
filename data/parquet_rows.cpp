// The only file that sees Arrow, whose headers take long to compile.
#include <arrow/api.h>
#include <arrow/util/io_util.h>
#include <fmt/format.h>
#include <parquet/arrow/reader.h>
#include <parquet/exception.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <numeric>

#include "data/errors.h"
#include "data/row_reader.h"

namespace lmnet {
namespace {

void append_value(const arrow::Array& array, int64_t row, std::string& json);

void append_quoted(std::string_view text, std::string& json) {
  json += '"';
  size_t written = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    const auto c = static_cast<unsigned char>(text[at]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    json.append(text.substr(written, at - written));
    fmt::format_to(std::back_inserter(json), "\\u{:04x}", c);
    written = at + 1;
  }
  json.append(text.substr(written));
  json += '"';
}

/// The texts of `array`, which is of the class Array.
template <typename Array>
void append_text(const arrow::Array& array, int64_t row, std::string& json) {
  append_quoted(static_cast<const Array&>(array).GetView(row), json);
}

template <typename Type>
void append_number(const arrow::Array& array, int64_t row, std::string& json) {
  const auto value = static_cast<const arrow::NumericArray<Type>&>(array).Value(row);
  if constexpr (std::is_floating_point_v<std::decay_t<decltype(value)>>) {
    json += std::isfinite(value) ? fmt::format("{}", value) : "null";
  } else {
    json += fmt::format("{}", +value);
  }
}

template <typename Array>
void append_list(const arrow::Array& array, int64_t row, std::string& json) {
  const auto& lists = static_cast<const Array&>(array);
  const int64_t begin = lists.value_offset(row), end = begin + lists.value_length(row);
  json += '[';
  for (int64_t i = begin; i < end; ++i) {
    if (i > begin) json += ',';
    append_value(*lists.values(), i, json);
  }
  json += ']';
}

void append_object(const arrow::StructArray& object, int64_t row, std::string& json) {
  json += '{';
  for (int i = 0; i < object.num_fields(); ++i) {
    if (i > 0) json += ',';
    append_quoted(object.type()->field(i)->name(), json);
    json += ':';
    append_value(*object.field(i), row, json);
  }
  json += '}';
}

/// As JSON; what has no kind of its own there (dates, decimals) becomes text.
void append_value(const arrow::Array& array, int64_t row, std::string& json) {
  using arrow::Type;
  if (array.IsNull(row)) {
    json += "null";
    return;
  }
  switch (array.type_id()) {
    case Type::STRING:
    case Type::BINARY:
      return append_text<arrow::BinaryArray>(array, row, json);
    case Type::LARGE_STRING:
    case Type::LARGE_BINARY:
      return append_text<arrow::LargeBinaryArray>(array, row, json);
    case Type::STRING_VIEW:
    case Type::BINARY_VIEW:
      return append_text<arrow::BinaryViewArray>(array, row, json);
    case Type::BOOL:
      json += static_cast<const arrow::BooleanArray&>(array).Value(row) ? "true" : "false";
      return;
    case Type::INT8:
      return append_number<arrow::Int8Type>(array, row, json);
    case Type::INT16:
      return append_number<arrow::Int16Type>(array, row, json);
    case Type::INT32:
      return append_number<arrow::Int32Type>(array, row, json);
    case Type::INT64:
      return append_number<arrow::Int64Type>(array, row, json);
    case Type::UINT8:
      return append_number<arrow::UInt8Type>(array, row, json);
    case Type::UINT16:
      return append_number<arrow::UInt16Type>(array, row, json);
    case Type::UINT32:
      return append_number<arrow::UInt32Type>(array, row, json);
    case Type::UINT64:
      return append_number<arrow::UInt64Type>(array, row, json);
    case Type::FLOAT:
      return append_number<arrow::FloatType>(array, row, json);
    case Type::DOUBLE:
      return append_number<arrow::DoubleType>(array, row, json);
    case Type::LIST:
    case Type::MAP:
      return append_list<arrow::ListArray>(array, row, json);
    case Type::LARGE_LIST:
      return append_list<arrow::LargeListArray>(array, row, json);
    case Type::FIXED_SIZE_LIST:
      return append_list<arrow::FixedSizeListArray>(array, row, json);
    case Type::STRUCT:
      return append_object(static_cast<const arrow::StructArray&>(array), row, json);
    case Type::DICTIONARY: {
      const auto& words = static_cast<const arrow::DictionaryArray&>(array);
      return append_value(*words.dictionary(), words.GetValueIndex(row), json);
    }
    default: {
      const auto scalar = array.GetScalar(row);
      if (!scalar.ok()) throw BadRecord(scalar.status().message());
      append_quoted((*scalar)->ToString(), json);
    }
  }
}

[[noreturn]] void fail(const std::string& what) {
  throw BrokenFile(fmt::format("broken Parquet file ({}); fetch the file again", what.substr(0, what.find('\n'))));
}

[[noreturn]] void fail(const arrow::Status& status) {
  // The system's own faults have its number; Arrow calls what is wrong in a file an I/O error too.
  if (const int number = arrow::internal::ErrnoFromStatus(status); number != 0)
    throw BrokenFile(fmt::format("cannot be read: {}", std::strerror(number)));
  fail(status.message());
}

/// What Arrow gives, its faults as BrokenFile.
template <typename Call>
auto from_arrow(Call&& call) {
  try {
    auto result = call();
    if (!result.ok()) fail(result.status());
    return std::move(result).ValueUnsafe();
  } catch (const BrokenFile&) {
    throw;
  } catch (const parquet::ParquetStatusException& error) {
    fail(error.status());
  } catch (const std::exception& error) {  // of a size that cannot be, among others
    fail(error.what());
  }
}

class ParquetRows : public RowReader {
 public:
  ParquetRows(const std::filesystem::path& file, const std::set<std::string>& names) {
    reader_ = from_arrow([&]() -> arrow::Result<std::unique_ptr<parquet::arrow::FileReader>> {
      parquet::ReaderProperties memory;
      memory.enable_buffered_stream();  // pages as they are needed, not a row group as a whole
      parquet::ArrowReaderProperties batches;
      batches.set_pre_buffer(false);
      parquet::arrow::FileReaderBuilder builder;
      ARROW_RETURN_NOT_OK(builder.OpenFile(file.string(), /*memory_map=*/false, memory));
      return builder.properties(batches)->Build();
    });
    const auto& schema = *reader_->parquet_reader()->metadata()->schema();
    for (int leaf = 0; leaf < schema.num_columns(); ++leaf)
      if (names.contains(schema.Column(leaf)->path()->ToDotVector().front())) leaves_.push_back(leaf);
    reader_->set_batch_size(from_arrow([&] { return rows_at_once(); }));
    open_groups_from(0);
  }

  bool next(Row& row) override {
    row.json.clear();
    row.line = 0;
    if (!fill()) return false;
    const int64_t at = row_in_batch_++;
    ++record_;
    row.json = "{";
    for (int i = 0; i < batch_->num_columns(); ++i) {
      if (i > 0) row.json += ',';
      append_quoted(batch_->schema()->field(i)->name(), row.json);
      row.json += ':';
      append_value(*batch_->column(i), at, row.json);
    }
    row.json += '}';
    return true;
  }

  Cursor cursor() const override { return {record_, 0, 0}; }

  void go(const Cursor& cursor) override {
    const auto& file = *reader_->parquet_reader()->metadata();
    int group = 0;
    record_ = 0;
    while (group < file.num_row_groups() && record_ + file.RowGroup(group)->num_rows() <= cursor.record)
      record_ += file.RowGroup(group++)->num_rows();
    open_groups_from(group);
    while (record_ < cursor.record && fill()) {
      const int64_t passed = std::min(cursor.record - record_, batch_->num_rows() - row_in_batch_);
      record_ += passed;
      row_in_batch_ += passed;
    }
    record_ = cursor.record;
  }

  const std::vector<std::string>& columns() const override { return columns_; }

 private:
  /// As many rows as have up to about 4 MiB in the columns that are read, by what the file says of its row groups.
  arrow::Result<int64_t> rows_at_once() const {
    constexpr double most_bytes = 4 << 20;
    double rows = 256;
    const auto& file = *reader_->parquet_reader()->metadata();
    for (int i = 0; i < file.num_row_groups(); ++i) {
      const auto group = file.RowGroup(i);
      if (group->num_rows() == 0) continue;
      double bytes = 1;
      for (const int leaf : leaves_) bytes += static_cast<double>(group->ColumnChunk(leaf)->total_uncompressed_size());
      rows = std::min(rows, most_bytes * static_cast<double>(group->num_rows()) / bytes);
    }
    return std::max<int64_t>(1, static_cast<int64_t>(rows));
  }

  void open_groups_from(int group) {
    std::vector<int> groups(reader_->num_row_groups() - group);
    std::iota(groups.begin(), groups.end(), group);
    batch_ = nullptr;
    batches_ = from_arrow([&] { return reader_->GetRecordBatchReader(groups, leaves_); });
  }

  /// Whether there is a row.
  bool fill() {
    while (!batch_ || row_in_batch_ == batch_->num_rows()) {
      batch_ = from_arrow([&] { return batches_->Next(); });
      row_in_batch_ = 0;
      if (!batch_) return false;
    }
    return true;
  }

  std::unique_ptr<parquet::arrow::FileReader> reader_;
  std::unique_ptr<arrow::RecordBatchReader> batches_;
  std::shared_ptr<arrow::RecordBatch> batch_;
  std::vector<int> leaves_;           // the columns that are read
  std::vector<std::string> columns_;  // none: rows are JSON
  int64_t row_in_batch_ = 0;
  int64_t record_ = 0;
};

}  // namespace

std::unique_ptr<RowReader> open_parquet(const std::filesystem::path& file, const std::set<std::string>& names) {
  return std::make_unique<ParquetRows>(file, names);
}

}  // namespace lmnet
