#include "trainer/config/codec.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "trainer/config/words.h"

namespace lmnet::config {
namespace {

/// The number that a plain scalar is; quoted ones are text.
template <class Number>
std::optional<Number> number(const Node& node) {
  Number value{};
  const char* end = node.text.data() + node.text.size();
  const auto [stop, error] = std::from_chars(node.text.data(), end, value);
  const bool whole_text = node.kind == Node::Kind::scalar && !node.quoted && error == std::errc{} && stop == end;
  return whole_text ? std::optional(value) : std::nullopt;
}

bool contains(const std::vector<std::string>& words, const std::string& word) {
  return std::ranges::find(words, word) != words.end();
}

}  // namespace

Codec<std::string> text() {
  return {"text",
          [](const Node& node, const std::string& path) {
            if (node.kind != Node::Kind::scalar || node.text.empty()) refuse(node, path, "text that is not empty");
            return node.text;
          },
          [](const std::string& value) { return Node::word(value); }};
}

Codec<std::string> choice(std::vector<std::string> built, std::vector<std::string> planned) {
  std::string allowed = any_of(built);
  const std::string way_out = built.size() == 1 ? "remove it or set it to " + allowed : "use " + allowed;
  if (!planned.empty()) allowed += fmt::format(" (planned: {})", fmt::join(planned, ", "));
  return {allowed,
          [=](const Node& node, const std::string& path) {
            if (node.kind != Node::Kind::scalar) refuse(node, path, allowed);
            if (contains(planned, node.text)) refuse_planned(node, path, way_out);
            if (contains(built, node.text)) return node.text;
            std::vector<std::string> all = built;
            all.insert(all.end(), planned.begin(), planned.end());
            refuse(node, path, allowed + did_you_mean(node.text, all));
          },
          [](const std::string& value) { return Node::word(value); }};
}

Codec<bool> boolean() {
  return {"true or false",
          [](const Node& node, const std::string& path) {
            const bool plain = node.kind == Node::Kind::scalar && !node.quoted;
            if (!plain || (node.text != "true" && node.text != "false")) refuse(node, path, "true or false");
            return node.text == "true";
          },
          [](const bool& value) { return Node::plain(value ? "true" : "false"); }};
}

Codec<int64_t> whole(int64_t least, int64_t most) {
  const std::string allowed = least == 1 ? "a whole number above 0" : fmt::format("a whole number, {} or above", least);
  return {allowed,
          [=](const Node& node, const std::string& path) {
            const auto value = number<int64_t>(node);
            if (value && *value >= least && *value <= most) return *value;
            // The upper end is worth a word only to who has gone past it.
            const auto large = number<double>(node);
            const bool past = large && *large > static_cast<double>(most);
            refuse(node, path, past ? fmt::format("a whole number from {} to {}", least, most) : allowed);
          },
          [](const int64_t& value) { return Node::plain(fmt::format("{}", value)); }};
}

Codec<int> small_whole(int64_t least) {
  return cast<int>(whole(least, std::numeric_limits<int>::max()));
}

Range above_zero() {
  return {"a number above 0", [](double value) { return value > 0; }};
}

Range zero_or_above() {
  return {"a number, 0 or above", [](double value) { return value >= 0; }};
}

Range share() {
  return {"a number from 0 to below 1", [](double value) { return value >= 0 && value < 1; }};
}

Codec<double> real(Range range) {
  return {range.allowed,
          [=](const Node& node, const std::string& path) {
            const auto value = number<double>(node);
            if (!value || !std::isfinite(*value) || !range.holds(*value)) refuse(node, path, range.allowed);
            return *value;
          },
          [](const double& value) { return Node::plain(fmt::format("{}", value)); }};
}

Codec<Span> length(std::vector<Span::Unit> units, bool zero) {
  const std::string allowed = expected_span(units);
  return {allowed,
          [=](const Node& node, const std::string& path) {
            const auto span = node.kind == Node::Kind::scalar ? read_span(node.text) : std::nullopt;
            if (!span || std::ranges::find(units, span->unit) == units.end()) {
              refuse(node, path, allowed + case_hint(node.text));
            }
            if (span->value == 0 && !zero) refuse(node, path, "a length above 0");
            return *span;
          },
          [](const Span& value) { return Node::plain(to_string(value)); }};
}

Codec<TextOrMapping> text_or_mapping(const std::string& allowed) {
  return {allowed,
          [=](const Node& node, const std::string& path) -> TextOrMapping {
            if (node.kind == Node::Kind::map && !node.items.empty()) return {"", to_json(node).dump()};
            if (node.kind != Node::Kind::scalar || node.text.empty()) refuse(node, path, allowed);
            return {node.text, ""};
          },
          [](const TextOrMapping& value) {
            if (!value.json.empty()) return from_json(nlohmann::ordered_json::parse(value.json));
            return value.text.empty() ? Node{} : Node::word(value.text);
          }};
}

Codec<std::vector<std::string>> empty_list() {
  return {"[] (planned: a list)",
          [](const Node& node, const std::string& path) {
            if (node.kind != Node::Kind::list) refuse(node, path, "[]");
            if (!node.items.empty()) refuse_planned(node, path, "remove it or set it to []");
            return std::vector<std::string>{};
          },
          [](const std::vector<std::string>&) {
            Node node;
            node.kind = Node::Kind::list;
            return node;
          }};
}

Codec<std::vector<std::string>> set_of(const Codec<std::string>& codec, const std::string& allowed, bool may_be_empty) {
  Codec<std::vector<std::string>> result = list_of(codec, allowed);
  result.read = [=, list = result.read](const Node& node, const std::string& path) {
    std::vector<std::string> values = list(node, path);
    if (values.empty() && !may_be_empty) refuse(node, path, allowed);
    for (auto value = values.begin(); value != values.end(); ++value) {
      if (std::find(values.begin(), value, *value) == value) continue;
      const Node& item = node.items[static_cast<size_t>(value - values.begin())];
      fail(item.where, fmt::format("{}: \"{}\" stands there twice, keep one of them", path, *value));
    }
    return values;
  };
  return result;
}

}  // namespace lmnet::config
