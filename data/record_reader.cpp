#include "data/record_reader.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <utility>

#include "data/errors.h"
#include "data/format_spec.h"
#include "data/json_file.h"

namespace lmnet {
namespace {

template <typename Error = DataError>
[[noreturn]] void fail(const std::filesystem::path& file, int64_t record, int64_t line, const std::string& what) {
  throw Error(
      fmt::format("{}: record {}{}: {}", file.string(), record, line > 0 ? fmt::format(" (line {})", line) : "", what));
}

/// What `action` finds broken, told with the place.
template <typename Action>
auto named(const std::filesystem::path& file, int64_t record, const Row& row, Action&& action) {
  try {
    return action();
  } catch (const BrokenCompression& broken) {
    fail(file, record, 0, fmt::format("{}; fetch the file again", broken.what()));
  } catch (const BrokenFile& broken) {
    fail(file, record, row.line, broken.what());
  }
}

}  // namespace

RecordReader::RecordReader(const std::filesystem::path& file, const Format& format, const Cursor& start)
    : file_(file), format_(format), parser_(std::make_unique<simdjson::dom::parser>()) {
  named(file_, start.record, row_, [&] {
    rows_ = open_rows(file_, format_);
    if (start.record > 0) rows_->go(start);
  });
}

RecordReader::RecordReader(RecordReader&&) noexcept = default;
RecordReader::~RecordReader() = default;

bool RecordReader::next(Record& record) {
  skipped_.clear();
  while (true) {
    const int64_t number = rows_->cursor().record;
    try {
      if (!named(file_, number, row_, [&] { return rows_->next(row_); })) return false;
      parse(record);
      return true;
    } catch (const BadRecord& bad) {
      if (!format_.bad_records()) fail<MisfitRecord>(file_, number, row_.line, bad.what());
      if (std::ssize(skipped_) == *format_.bad_records())
        fail(file_, number, row_.line,
             fmt::format("{}; so are the {} before it, more than data.bad_record_limit allows", bad.what(),
                         skipped_.size()));
      skipped_.push_back({file_, number, row_.line, bad.what()});
    }
  }
}

bool RecordReader::skip() {
  skipped_.clear();
  const int64_t number = rows_->cursor().record;
  try {
    return named(file_, number, row_, [&] { return rows_->next(row_); });
  } catch (const BadRecord& bad) {
    if (!format_.bad_records()) fail<MisfitRecord>(file_, number, row_.line, bad.what());
    return true;
  }
}

void RecordReader::parse(Record& record) {
  if (!rows_->columns().empty()) {
    record = format_.make_record(RecordFields(rows_->columns(), row_.cells));
    return;
  }
  row_.json.reserve(row_.json.size() + simdjson::SIMDJSON_PADDING);  // parsed where it lies
  simdjson::dom::element root;
  if (const auto error = parser_->parse(row_.json).get(root))
    throw BadRecord(fmt::format("invalid JSON: {}", simdjson::error_message(error)));
  if (!root.is_object()) throw BadRecord(fmt::format("is {}, not a JSON object", kind_of(root)));
  record = format_.make_record(RecordFields(root));
}

}  // namespace lmnet
