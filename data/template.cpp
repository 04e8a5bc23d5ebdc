#include "data/template.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "data/blanks.h"
#include "data/errors.h"
#include "data/json_file.h"

namespace lmnet {
namespace {

using simdjson::dom::element;

/// Whether the value, which is no text, counts as something.
bool holds_something(element value) {
  bool flag = false;
  if (value.get(flag) == simdjson::SUCCESS) return flag;
  if (simdjson::dom::array list; value.get(list) == simdjson::SUCCESS) return list.size() > 0;
  if (simdjson::dom::object object; value.get(object) == simdjson::SUCCESS) return object.size() > 0;
  return !value.is_null();
}

bool absent(const FieldValue& value) {
  const auto* json = std::get_if<element>(&value);
  return std::holds_alternative<std::monostate>(value) || (json && json->is_null());
}

[[noreturn]] void refuse(const FieldPath& path, const FieldValue& value, std::string_view wanted) {
  const auto* json = std::get_if<element>(&value);
  if (std::holds_alternative<std::monostate>(value))
    throw BadRecord(fmt::format("the field {} is missing", path.text()));
  throw BadRecord(fmt::format("the field {} is {}, not {}", path.text(), json ? kind_of(*json) : "text", wanted));
}

void append_lines(const RecordFields& fields, const FieldPath& path, std::string& text) {
  bool first = true;
  for (const element item : fields.list(path)) {
    std::string_view line;
    if (item.get(line) != simdjson::SUCCESS)
      throw BadRecord(fmt::format("the field {} holds {}, not only texts", path.text(), kind_of(item)));
    if (!std::exchange(first, false)) text += '\n';
    text += line;
  }
}

void append_json(const RecordFields& fields, const FieldPath& path, std::string& text) {
  const FieldValue value = fields.find(path);
  if (const auto* json = std::get_if<element>(&value)) {
    text += simdjson::minify(*json);
  } else if (const auto* plain = std::get_if<std::string_view>(&value)) {
    text += *plain;
  } else {
    refuse(path, value, "a value");
  }
}

}  // namespace

FieldPath FieldPath::parse(std::string_view text) {
  const auto fail = [&](std::string_view why) {
    throw DataError(
        fmt::format("`{}` names no field: {}; right are `name`, `name.inner`, `list[0]`, `list[-1]` and "
                    "`\"a name with . in it\"`",
                    text, why));
  };
  FieldPath path;
  std::string_view rest = text;
  do {
    if (rest.starts_with('[') && !path.steps_.empty()) {
      const char* const end = rest.data() + std::min(rest.find(']'), rest.size());
      int64_t index = 0;
      const auto [stop, error] = std::from_chars(rest.data() + 1, end, index);
      if (error != std::errc() || stop != end || end == rest.data() + rest.size())
        fail("brackets hold the number of an item");
      path.steps_.emplace_back(index);
      rest.remove_prefix(static_cast<size_t>(end - rest.data()) + 1);
      continue;
    }
    if (!path.steps_.empty()) {
      if (!rest.starts_with('.')) fail("a dot is missing");
      rest.remove_prefix(1);
    }
    const bool quoted = rest.starts_with('"');
    if (quoted) rest.remove_prefix(1);
    const size_t end = quoted ? rest.find('"') : std::min(rest.find_first_of(".[]\""), rest.size());
    if (end == rest.npos) fail("a quote is missing");
    if (end == 0) fail("a name is empty");
    path.steps_.emplace_back(std::string(rest.substr(0, end)));
    rest.remove_prefix(end + (quoted ? 1 : 0));
  } while (!rest.empty());
  return path;
}

void FieldPath::rename(const Columns& columns) {
  const auto column = columns.find(first());
  if (column == columns.end()) return;
  std::vector<Step> steps = column->second.steps_;
  steps.insert(steps.end(), steps_.begin() + 1, steps_.end());
  steps_ = std::move(steps);
}

std::string FieldPath::text() const {
  std::string text;
  for (const Step& step : steps_) {
    if (const auto* index = std::get_if<int64_t>(&step)) {
      text += fmt::format("[{}]", *index);
    } else {
      text += (text.empty() ? "" : ".") + std::get<std::string>(step);
    }
  }
  return '"' + text + '"';
}

FieldValue RecordFields::find(const FieldPath& path) const {
  if (!object_) {
    const auto name = std::ranges::find(names_, path.first());
    if (name == names_.end() || path.steps_.size() > 1) return {};
    return std::string_view(texts_[static_cast<size_t>(name - names_.begin())]);
  }
  element value = *object_;
  for (const FieldPath::Step& step : path.steps_) {
    if (const auto* index = std::get_if<int64_t>(&step)) {
      simdjson::dom::array list;
      if (value.get(list) != simdjson::SUCCESS) return {};
      const int64_t at = *index < 0 ? *index + static_cast<int64_t>(list.size()) : *index;
      if (at < 0 || list.at(static_cast<size_t>(at)).get(value) != simdjson::SUCCESS) return {};
    } else if (value.at_key(std::get<std::string>(step)).get(value) != simdjson::SUCCESS) {
      return {};
    }
  }
  std::string_view text;
  if (value.get(text) == simdjson::SUCCESS) return text;
  return value;
}

std::string_view RecordFields::text(const FieldPath& path) const {
  const FieldValue value = find(path);
  if (const auto* text = std::get_if<std::string_view>(&value)) return *text;
  refuse(path, value, "text");
}

simdjson::dom::array RecordFields::list(const FieldPath& path) const {
  const FieldValue value = find(path);
  simdjson::dom::array list;
  const auto* json = std::get_if<element>(&value);
  if (!json || json->get(list) != simdjson::SUCCESS) refuse(path, value, "a list");
  return list;
}

Template Template::parse(std::string_view text) {
  Template result;
  std::string literal;
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    const bool brace = c == '{' || c == '}';
    if (brace && at + 1 < text.size() && text[at + 1] == c) {
      literal += c;
      ++at;
    } else if (c == '{') {
      const size_t end = text.find('}', at);
      if (end == text.npos) throw DataError("a `{` is not closed; a brace of the text itself is written twice");
      result.parts_.push_back(parse_reference(text.substr(at + 1, end - at - 1)));
      result.parts_.back().before = std::exchange(literal, {});
      at = end;
    } else if (c == '}') {
      throw DataError("a `}` closes nothing; a brace of the text itself is written twice");
    } else {
      literal += c;
    }
  }
  if (!literal.empty()) result.parts_.push_back({std::move(literal), {}, Filter::text});
  return result;
}

Template::Part Template::parse_reference(std::string_view reference) {
  const size_t bar = reference.find('|');
  std::string_view name = reference.substr(0, bar);
  Filter filter = Filter::text;
  if (bar != reference.npos) {
    const std::string_view word = reference.substr(bar + 1);
    filter = word == "lines" ? Filter::lines : word == "json" ? Filter::json : Filter::trim;
    if (filter == Filter::trim && word != "trim")
      throw DataError(fmt::format("`{{{}}}`: there are |lines, |json and |trim, not |{}", reference, word));
  } else if (name.ends_with('?')) {
    filter = Filter::optional;
    name.remove_suffix(1);
  }
  return {"", FieldPath::parse(name), filter};
}

void Template::rename(const Columns& columns) {
  for (Part& part : parts_)
    if (part.field) part.field->rename(columns);
}

void Template::append(const RecordFields& fields, std::string& text) const {
  for (const Part& part : parts_) {
    text += part.before;
    if (!part.field) continue;
    switch (part.filter) {
      case Filter::text:
        text += fields.text(*part.field);
        break;
      case Filter::optional:
        if (!absent(fields.find(*part.field))) text += fields.text(*part.field);
        break;
      case Filter::trim:
        text += trimmed(fields.text(*part.field));
        break;
      case Filter::lines:
        append_lines(fields, *part.field, text);
        break;
      case Filter::json:
        append_json(fields, *part.field, text);
    }
  }
}

void Template::add_names(std::set<std::string>& names) const {
  for (const Part& part : parts_)
    if (part.field) part.field->add_names(names);
}

FieldCondition FieldCondition::parse(std::string_view text) {
  FieldCondition condition;
  if (text.starts_with("not ")) {
    condition.negated_ = true;
    text.remove_prefix(4);
  } else if (const size_t is = text.find(" is "); is != text.npos) {
    std::string_view value = text.substr(is + 4);
    condition.negated_ = value.starts_with("not ");
    if (condition.negated_) value.remove_prefix(4);
    condition.text_ = std::string(value);
    text = text.substr(0, is);
  }
  condition.field_ = FieldPath::parse(text);
  return condition;
}

bool FieldCondition::holds(const RecordFields& fields) const {
  const FieldValue value = fields.find(field_);
  const auto* plain = std::get_if<std::string_view>(&value);
  const auto* json = std::get_if<element>(&value);
  bool result = false;
  if (text_) {
    result = plain ? *plain == *text_ : json && simdjson::minify(*json) == *text_;
  } else {
    result = plain ? !plain->empty() : json && holds_something(*json);
  }
  return result != negated_;
}

}  // namespace lmnet
