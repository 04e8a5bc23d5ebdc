#pragma once
#include <simdjson.h>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace lmnet {

class FieldPath;
/// Where the data keeps what a format calls so.
using Columns = std::map<std::string, FieldPath, std::less<>>;

/// A place in a record: `question`, `meta.answer`, `generations[0]`, `messages[-1].content` (from the end),
/// `"a name. with dots"`.
class FieldPath {
 public:
  /// Throws DataError.
  static FieldPath parse(std::string_view text);
  /// Its first name becomes the place that `columns` has for it, if any.
  void rename(const Columns& columns);

  void add_names(std::set<std::string>& names) const { names.insert(first()); }
  const std::string& first() const { return std::get<std::string>(steps_.front()); }
  std::string text() const;

 private:
  friend class RecordFields;
  using Step = std::variant<std::string, int64_t>;
  std::vector<Step> steps_;
};

/// What stands at a place: nothing, text, or another value of JSON.
using FieldValue = std::variant<std::monostate, std::string_view, simdjson::dom::element>;

/// A record as it stands in its file: an object of JSON, or texts that have names.
class RecordFields {
 public:
  explicit RecordFields(simdjson::dom::element object) : object_(object) {}
  RecordFields(std::span<const std::string> names, std::span<const std::string> texts) : names_(names), texts_(texts) {}

  FieldValue find(const FieldPath& path) const;
  /// Throw BadRecord where there is something else.
  std::string_view text(const FieldPath& path) const;
  simdjson::dom::array list(const FieldPath& path) const;

 private:
  std::optional<simdjson::dom::element> object_;
  std::span<const std::string> names_, texts_;
};

/// Text with references to fields: `{name}` is a text, which must be there; `{name?}` may be absent or null, and is
/// then empty; `{name|lines}` is a list of texts, each on a line of its own; `{name|json}` any value, as JSON;
/// `{name|trim}` a text without the blanks at its ends. `{{` and `}}` are braces.
class Template {
 public:
  /// Throws DataError.
  static Template parse(std::string_view text);
  void rename(const Columns& columns);

  /// Throws BadRecord.
  void append(const RecordFields& fields, std::string& text) const;
  /// The names at the top of a record that it reads.
  void add_names(std::set<std::string>& names) const;

 private:
  enum class Filter { text, optional, lines, json, trim };
  struct Part {
    std::string before;  // literally
    std::optional<FieldPath> field;
    Filter filter = Filter::text;
  };
  static Part parse_reference(std::string_view reference);

  std::vector<Part> parts_;
};

/// `NAME` (it is there and holds something: not null, "", [], {} or false), `not NAME`, `NAME is TEXT`,
/// `NAME is not TEXT`.
class FieldCondition {
 public:
  /// Throws DataError.
  static FieldCondition parse(std::string_view text);
  void rename(const Columns& columns) { field_.rename(columns); }

  bool holds(const RecordFields& fields) const;
  void add_names(std::set<std::string>& names) const { field_.add_names(names); }

 private:
  FieldPath field_;
  std::optional<std::string> text_;  // to be equal to
  bool negated_ = false;
};

}  // namespace lmnet
