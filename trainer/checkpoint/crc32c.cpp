#include "trainer/checkpoint/crc32c.h"

#include <isa-l/crc.h>

#include <algorithm>

namespace lmnet {

uint32_t crc32c(std::span<const std::byte> bytes, uint32_t previous) {
  constexpr size_t longest = size_t{1} << 30;  // the library counts in int
  uint32_t state = ~previous;
  while (!bytes.empty()) {
    const auto part = bytes.first(std::min(bytes.size(), longest));
    // The library takes a mutable pointer, but only reads.
    auto* data = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(part.data()));
    state = crc32_iscsi(data, static_cast<int>(part.size()), state);
    bytes = bytes.subspan(part.size());
  }
  return ~state;
}

}  // namespace lmnet
