#include "trainer/checkpoint/crc32c.h"

#include <isa-l/crc.h>

#include <algorithm>

namespace lmnet {
namespace {

// Polynomials over GF(2) modulo that of the CRC, as the CRC has them: the highest bit is the coefficient of x^0.
constexpr uint32_t modulus = 0x82F63B78, one = uint32_t{1} << 31;

uint32_t multiply(uint32_t a, uint32_t b) {
  uint32_t product = 0;
  for (; a != 0; a <<= 1) {
    if (a & one) product ^= b;
    b = (b & 1) ? (b >> 1) ^ modulus : b >> 1;  // times x
  }
  return product;
}

}  // namespace

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

// The first part's remainder is multiplied by x^(8 n): what n zero bytes behind it make of it. Start value and final
// inversion cancel out (as in zlib's crc32_combine).
uint32_t crc32c_join(uint32_t first, uint32_t second, uint64_t second_bytes) {
  uint32_t power = one, square = one >> 8;  // x^8
  for (uint64_t left = second_bytes; left != 0; left >>= 1) {
    if (left & 1) power = multiply(power, square);
    square = multiply(square, square);
  }
  return multiply(power, first) ^ second;
}

}  // namespace lmnet
