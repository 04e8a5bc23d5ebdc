#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "trainer/config/config.h"

namespace lmnet::config {

/// A number with its unit; nothing when that is not how it is written, or not a whole number of updates or tokens.
std::optional<Span> read_span(std::string_view text);

/// `a length with its unit: u (updates) or …, such as 2000u`.
std::string expected_span(std::span<const Span::Unit> units);

/// `, did you mean "20Gt"?` where only the case of the unit is wrong, else nothing.
std::string case_hint(std::string_view text);

}  // namespace lmnet::config
