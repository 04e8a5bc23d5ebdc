#include "model/errors.h"

namespace lmnet {

std::string shown(std::string_view text) {
  constexpr size_t kLongest = 100;
  size_t length = text.size();
  if (length > kLongest) {
    length = kLongest;
    while (length > 0 && (static_cast<unsigned char>(text[length]) & 0xC0) == 0x80) --length;  // whole characters
  }
  std::string out(text.substr(0, length));
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  return length < text.size() ? out + "…" : out;
}

}  // namespace lmnet
