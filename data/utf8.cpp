#include "data/utf8.h"

namespace lmnet {

Utf8Step utf8_step(std::string_view bytes) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return {Utf8::valid, 1};
  const uint8_t length = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  if (length == 0) return {Utf8::invalid, 1};
  // The second byte's range leaves out overlong forms, surrogates and what lies above U+10FFFF.
  uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  for (uint8_t i = 1; i < length; ++i) {
    if (i == bytes.size()) return {Utf8::incomplete, i};
    if (byte(i) < low || byte(i) > high) return {Utf8::invalid, i};
    low = 0x80;
    high = 0xbf;
  }
  return {Utf8::valid, length};
}

char32_t code_point(std::string_view character) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(character[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return lead;
  const size_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  char32_t point = lead & (0x7f >> length);
  for (size_t i = 1; i < length; ++i) point = point << 6 | (byte(i) & 0x3f);
  return point;
}

void append_replaced(std::string_view bytes, std::string& text) {
  for_each_utf8_run(bytes, [&](std::string_view run, bool valid) {
    if (valid) text += run;
    while (!valid && !run.empty()) {
      text += "\xef\xbf\xbd";
      run.remove_prefix(utf8_step(run).length);
    }
  });
}

}  // namespace lmnet
