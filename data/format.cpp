#include "data/format.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

#include "data/errors.h"
#include "data/format_spec.h"
#include "data/shuffle.h"

namespace lmnet {
namespace {

/// Calls `visit` for all that refers to fields: Template, FieldCondition and FieldPath.
template <typename Spec, typename Visit>
void visit_references(Spec& spec, Visit&& visit) {
  const auto choice = [&](auto& texts) {
    for (auto& option : texts.options) {
      if (option.when) visit(*option.when);
      visit(option.text);
    }
  };
  choice(spec.prompt);
  choice(spec.answer);
  for (auto& turn : spec.turns) choice(turn.content);
  if (!spec.chat) return;
  visit(spec.chat->list);
  if (spec.chat->system) choice(*spec.chat->system);
}

std::vector<ChatMessage> read_chat(const ChatList& chat, const RecordFields& fields) {
  std::vector<ChatMessage> messages;
  if (chat.system) {
    if (auto text = chat.system->make(fields); text && !text->empty()) messages.push_back({"system", std::move(*text)});
  }
  const FieldValue value = fields.find(chat.list);
  simdjson::dom::array list;
  const auto* json = std::get_if<simdjson::dom::element>(&value);
  if (!json || json->get(list) != simdjson::SUCCESS) throw BadRecord(fmt::format("has no list {}", chat.list.text()));
  size_t number = 0;
  for (const simdjson::dom::element item : list) {
    const FieldValue role = RecordFields(item).find(chat.role), content = RecordFields(item).find(chat.content);
    const auto* role_text = std::get_if<std::string_view>(&role);
    const auto* content_text = std::get_if<std::string_view>(&content);
    if (!role_text || !content_text)
      throw BadRecord(fmt::format("message {} lacks {} or {}, or they are no texts", number, chat.role.text(),
                                  chat.content.text()));
    const auto known = chat.roles.find(*role_text);
    messages.push_back(
        {known == chat.roles.end() ? std::string(*role_text) : known->second, std::string(*content_text)});
    ++number;
  }
  if (number == 0) throw BadRecord(fmt::format("has no messages: its list {} is empty", chat.list.text()));
  return messages;
}

std::string make_text(const TextChoice& choice, const RecordFields& fields, std::string_view what) {
  if (choice.options.empty()) return "";
  if (auto text = choice.make(fields)) return std::move(*text);
  throw BadRecord(fmt::format("none of the conditions for its {} holds", what));
}

}  // namespace

std::optional<std::string> TextChoice::make(const RecordFields& fields) const {
  for (const Option& option : options) {
    if (option.when && !option.when->holds(fields)) continue;
    std::string text;
    option.text.append(fields, text);
    return text;
  }
  return std::nullopt;
}

Format::Format(FormatSpec spec) : spec_(std::make_shared<const FormatSpec>(std::move(spec))) {}

Format Format::with_columns(const std::map<std::string, std::string>& columns) const {
  if (columns.empty()) return *this;
  const std::set<std::string> known = names();
  Columns paths;
  FormatSpec spec = *spec_;
  for (const auto& [name, column] : columns) {
    if (!known.contains(name))
      throw DataError(
          fmt::format("the format {} reads no field \"{}\"; it reads: {}", spec.name, name, fmt::join(known, ", ")));
    paths.emplace(name, FieldPath::parse(column));
    spec.source += fmt::format("\n{}: {}", name, column);
  }
  visit_references(spec, [&](auto& reference) { reference.rename(paths); });
  if (spec.chat) {
    spec.chat->role.rename(paths);
    spec.chat->content.rename(paths);
  }
  return Format(std::move(spec));
}

bool Format::has_prompt() const {
  return !spec_->prompt.options.empty();
}

bool Format::masks() const {
  return has_prompt() || spec_->chat || !spec_->turns.empty();
}

bool Format::prepared() const {
  return spec_->rows == RowLayout::prepared;
}

std::optional<int64_t> Format::bad_records() const {
  return spec_->bad_records;
}

bool Format::operator==(const Format& other) const {
  return spec_->name == other.spec_->name && hash() == other.hash();
}

Format Format::skipping_bad_records(int64_t limit) const {
  FormatSpec spec = *spec_;
  spec.bad_records = limit;
  return Format(std::move(spec));
}

Record Format::make_record(const RecordFields& fields) const {
  Record record;
  if (spec_->chat) {
    record.messages = read_chat(*spec_->chat, fields);
    return record;
  }
  for (const ChatTurn& turn : spec_->turns) {
    if (auto content = turn.content.make(fields)) record.messages.push_back({turn.role, std::move(*content)});
  }
  if (!spec_->turns.empty()) {
    if (record.messages.empty()) throw BadRecord("none of the conditions for its messages holds");
    return record;
  }
  record.prompt = make_text(spec_->prompt, fields, "prompt");
  record.answer = make_text(spec_->answer, fields, "answer");
  record.end_of_prompt = spec_->end_of_prompt;
  return record;
}

std::set<std::string> Format::names() const {
  std::set<std::string> names;
  visit_references(*spec_, [&](const auto& reference) { reference.add_names(names); });
  if (spec_->chat) names.insert({spec_->chat->role.first(), spec_->chat->content.first()});
  return names;
}

uint64_t Format::hash() const {
  return hash_of(spec_->source);
}

}  // namespace lmnet
