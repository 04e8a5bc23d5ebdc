#include "trainer/config/units.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "trainer/config/tree.h"
#include "trainer/config/words.h"

namespace lmnet {
namespace {

struct UnitName {
  std::string_view name;
  Span::Unit unit;
  double scale;
};

// The larger ones of a unit first: to_string() takes the first that fits.
constexpr std::array<UnitName, 9> unit_names = {{{"u", Span::Unit::updates, 1},
                                                 {"Gt", Span::Unit::tokens, 1e9},
                                                 {"Mt", Span::Unit::tokens, 1e6},
                                                 {"Kt", Span::Unit::tokens, 1e3},
                                                 {"t", Span::Unit::tokens, 1},
                                                 {"e", Span::Unit::epochs, 1},
                                                 {"h", Span::Unit::seconds, 3600},
                                                 {"m", Span::Unit::seconds, 60},
                                                 {"s", Span::Unit::seconds, 1}}};

constexpr double largest = 9007199254740992;  // 2^53: up to here every whole number is a double

std::string number_text(double value) {
  std::array<char, 64> text{};
  const auto result = std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  return {text.data(), result.ptr};
}

}  // namespace

namespace config {

std::optional<Span> read_span(std::string_view text) {
  double number = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  if (error != std::errc{} || std::signbit(number) || !(number <= largest)) return std::nullopt;
  const auto found = std::ranges::find(unit_names, std::string_view(stop, end), &UnitName::name);
  if (found == unit_names.end()) return std::nullopt;
  Span span{number * found->scale, found->unit};
  if (found->unit == Span::Unit::updates || found->unit == Span::Unit::tokens) {
    // 1.1Kt is 1100.0000000000002 by multiplication.
    const double whole = std::round(span.value);
    if (std::abs(span.value - whole) > 1e-9 * whole) return std::nullopt;
    span.value = whole;
  }
  return span.value <= largest ? std::optional(span) : std::nullopt;
}

std::string expected_span(std::span<const Span::Unit> units) {
  const auto takes = [&](Span::Unit unit) { return std::ranges::find(units, unit) != units.end(); };
  std::vector<std::string> names;
  if (takes(Span::Unit::updates)) names.emplace_back("u (updates)");
  if (takes(Span::Unit::tokens)) names.emplace_back("t, Kt, Mt, Gt (tokens)");
  if (takes(Span::Unit::epochs)) names.emplace_back("e (epochs)");
  if (takes(Span::Unit::seconds)) names.emplace_back("s, m, h (time)");
  const char* example = takes(Span::Unit::updates) ? "2000u" : takes(Span::Unit::tokens) ? "300Mt" : "300s";
  return fmt::format("a length with its unit {}, such as {}", any_of(names), example);
}

std::string case_hint(std::string_view text) {
  const size_t unit = text.find_first_not_of("0123456789.");
  if (unit == text.npos || unit == 0) return "";
  for (const UnitName& name : unit_names) {
    const bool same = std::ranges::equal(
        text.substr(unit), name.name, {}, [](unsigned char c) { return std::tolower(c); },
        [](unsigned char c) { return std::tolower(c); });
    const std::string right = fmt::format("{}{}", text.substr(0, unit), name.name);
    if (same && right != text && read_span(right)) return fmt::format(", did you mean \"{}\"?", right);
  }
  return "";
}

}  // namespace config

std::string to_string(const Span& span) {
  std::string text;
  for (const UnitName& name : unit_names) {
    if (name.unit != span.unit) continue;
    text = number_text(span.value / name.scale) + std::string(name.name);
    // Only tokens read well with decimals: 0.5Gt is 500Mt, but 90m is not 1.5h.
    const bool decimals_allowed = name.scale == 1 || span.unit == Span::Unit::tokens;
    const bool whole = text.find('.') == std::string::npos;
    if (span.value >= name.scale && (whole || decimals_allowed) && config::read_span(text) == span) return text;
  }
  return text;
}

}  // namespace lmnet
