#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace lmnet {

enum class Utf8 { valid, invalid, incomplete };

/// What some bytes begin with: one character; bytes that cannot begin one (as many as Unicode calls a maximal subpart,
/// which one U+FFFD stands for); or a character whose last bytes are missing.
struct Utf8Step {
  Utf8 kind;
  uint8_t length;  // bytes
};
Utf8Step utf8_step(std::string_view bytes);  // not empty

/// The code point of a valid character.
char32_t code_point(std::string_view character);

/// Appends `bytes` with U+FFFD for what is no UTF-8, as Python's errors="replace" does.
void append_replaced(std::string_view bytes, std::string& text);

/// Calls `take(run, valid)` for the longest runs of valid characters and of other bytes, in order.
template <class Take>
void for_each_utf8_run(std::string_view bytes, const Take& take) {
  size_t begin = 0, at = 0;
  bool valid = true;
  while (at < bytes.size()) {
    const Utf8Step step = utf8_step(bytes.substr(at));
    if ((step.kind == Utf8::valid) != valid) {
      if (at > begin) take(bytes.substr(begin, at - begin), valid);
      begin = at;
      valid = !valid;
    }
    at += step.length;
  }
  if (at > begin) take(bytes.substr(begin), valid);
}

}  // namespace lmnet
