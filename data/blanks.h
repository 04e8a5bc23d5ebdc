#pragma once
#include <string_view>

namespace lmnet {

inline constexpr std::string_view blanks = " \t\r\n\v\f";

inline bool is_blank(std::string_view text) {
  return text.find_first_not_of(blanks) == text.npos;
}

/// Without the blanks at its ends.
inline std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(blanks);
  return begin == text.npos ? "" : text.substr(begin, text.find_last_not_of(blanks) + 1 - begin);
}

}  // namespace lmnet
