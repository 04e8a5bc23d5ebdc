#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "data/record.h"

namespace lmnet {

struct FormatSpec;
class RecordFields;

/// How a source's records are written and become training texts, as data/formats.yaml has it. Cheap to copy.
class Format {
 public:
  explicit Format(FormatSpec spec);

  const FormatSpec& spec() const { return *spec_; }
  /// The same for data that has other names for its fields: where it keeps what the format calls so. Throws DataError
  /// where the format has no such field.
  Format with_columns(const std::map<std::string, std::string>& columns) const;

  /// The same where bad records are passed over, up to so many one after the other.
  Format skipping_bad_records(int64_t limit) const;
  /// Records have a prompt and an answer, rather than one text or a chat.
  bool has_prompt() const;
  /// Some part of its records is only read, not learnt.
  bool masks() const;
  /// It stands for a folder that `lmnet prepare` has written (TokenIndex).
  bool prepared() const;
  /// How many; nothing where none may be.
  std::optional<int64_t> bad_records() const;

  /// Throws BadRecord.
  Record make_record(const RecordFields& fields) const;
  /// The names at the top of a record that it reads.
  std::set<std::string> names() const;
  /// Of everything that decides what becomes of a record.
  uint64_t hash() const;

  bool operator==(const Format& other) const;

 private:
  std::shared_ptr<const FormatSpec> spec_;
};

}  // namespace lmnet
