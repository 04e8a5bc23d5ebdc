#include "data/format_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "data/errors.h"
#include "data/format_spec.h"
#include "data/formats_yaml.h"
#include "data/json_file.h"
#include "data/yaml_map.h"

namespace lmnet {
namespace {

Template parse_text(const YamlValue& value) {
  return value.checked([&] { return Template::parse(value.text()); });
}

TextChoice parse_choice(const YamlValue& value) {
  TextChoice choice;
  if (!value.is_list()) {
    choice.options.push_back({std::nullopt, parse_text(value)});
    return choice;
  }
  for (const YamlValue& item : value.list()) {
    item.allow({"when", "text"});
    TextChoice::Option option{std::nullopt, parse_text(item.at("text"))};
    if (const auto when = item.find("when"))
      option.when = when->checked([&] { return FieldCondition::parse(when->text()); });
    choice.options.push_back(std::move(option));
  }
  return choice;
}

FieldPath parse_path(const YamlValue& value) {
  return value.checked([&] { return FieldPath::parse(value.text()); });
}

ChatList parse_chat(const YamlValue& value) {
  value.allow({"list", "role", "content", "roles", "system"});
  ChatList chat{parse_path(value.at("list")), parse_path(value.at("role")), parse_path(value.at("content"))};
  if (const auto roles = value.find("roles"))
    for (const auto& [theirs, ours] : roles->map()) chat.roles.emplace(theirs, ours.text());
  if (const auto system = value.find("system")) chat.system = parse_choice(*system);
  return chat;
}

std::vector<ChatTurn> parse_turns(const YamlValue& value) {
  std::vector<ChatTurn> turns;
  for (const YamlValue& item : value.list()) {
    item.allow({"role", "content"});
    turns.push_back({item.at("role").text(), parse_choice(item.at("content"))});
  }
  if (turns.empty()) value.fail("is empty");
  return turns;
}

Format parse_format_of(const std::string& name, const YamlValue& value) {
  value.allow({"rows", "split", "header", "prompt", "answer", "end_of_prompt", "messages"});
  FormatSpec spec;
  spec.name = name;
  spec.source = value.dump();
  if (const auto rows = value.find("rows")) {
    const std::string& word = rows->text();
    if (word == "prepared") {
      value.allow({"rows"});
      spec.rows = RowLayout::prepared;
      return Format(std::move(spec));
    }
    if (word != "paragraphs" && word != "lines") rows->fail("is neither paragraphs nor lines");
    spec.rows = word == "lines" ? RowLayout::lines : RowLayout::paragraphs;
  }
  if (const auto split = value.find("split")) spec.split = split->text();
  if (const auto header = value.find("header"))
    for (const YamlValue& column : header->list()) spec.header.push_back(column.text());
  if (const auto end = value.find("end_of_prompt")) spec.end_of_prompt = end->flag();
  if (!spec.split.empty() && (spec.rows != RowLayout::lines || spec.header.size() < 2))
    value.fail("`split` needs `rows: lines` and a `header` that names at least two columns");
  const auto messages = value.find("messages"), prompt = value.find("prompt"), answer = value.find("answer");
  if (messages && (prompt || answer)) messages->fail("stands beside `prompt` or `answer`; keep one of both");
  if (messages) {
    if (messages->is_list()) {
      spec.turns = parse_turns(*messages);
    } else {
      spec.chat = parse_chat(*messages);
    }
    return Format(std::move(spec));
  }
  if (prompt) spec.prompt = parse_choice(*prompt);
  spec.answer = parse_choice(value.at("answer"));
  return Format(std::move(spec));
}

std::map<std::string, Format> parse_formats(const YamlValue& file) {
  std::map<std::string, Format> formats;
  for (const auto& [name, value] : file.map()) formats.emplace(name, parse_format_of(name, value));
  return formats;
}

}  // namespace

Formats::Formats() : formats_(parse_formats(YamlValue::parse(formats_yaml(), "data/formats.yaml"))) {}

void Formats::add(const std::filesystem::path& file) {
  for (auto& [name, format] : parse_formats(YamlValue::parse(whole_file(file), file.string()))) {
    if (!formats_.emplace(name, std::move(format)).second)
      throw DataError(fmt::format("{}: there is a format {} already; choose another name", file.string(), name));
  }
}

const Format& Formats::get(const std::string& name) const {
  const auto found = formats_.find(name);
  if (found != formats_.end()) return found->second;
  throw DataError(fmt::format("unknown data format \"{}\"; there are: {}", name, fmt::join(names(), ", ")));
}

std::vector<std::string> Formats::names() const {
  std::vector<std::string> names;
  for (const auto& [name, format] : formats_) names.push_back(name);
  return names;
}

Format parse_format_yaml(const std::string& yaml, const std::string& where) {
  return parse_format_yaml(YamlValue::parse(yaml, where));
}

Format parse_format_yaml(const YamlValue& value) {
  return parse_format_of("of its own", value);
}

Format parse_format(const std::string& name) {
  return Formats().get(name);
}

}  // namespace lmnet
