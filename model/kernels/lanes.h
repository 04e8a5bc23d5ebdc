#pragma once
// Vectors of 64 bytes for kernels whose inner loop is a dot product with several sums at once, which compilers do not
// make out of plain loops. They are cut into narrower ones where the processor has no such registers.

#include <cstring>

#include "model/kernels/vector.h"

namespace lmnet::kernels {

// Bytes is 64 always; a template so that the attribute may depend on the number.
template <class Number>
struct LanesOf {
  typedef Number Type __attribute__((vector_size(64)));  // NOLINT(modernize-use-using)
};
template <class Number>
using Lanes = typename LanesOf<Number>::Type;

template <class Number>
constexpr std::int64_t lanes = 64 / sizeof(Number);

// Vectors travel by reference: by value they would depend on the processor that a function is compiled for.
LMNET_INLINE void load(const float* from, Lanes<float>& to) {
  std::memcpy(&to, from, sizeof to);
}
LMNET_INLINE void load(const double* from, Lanes<double>& to) {
  std::memcpy(&to, from, sizeof to);
}
LMNET_INLINE void load(const Bf16* from, Lanes<float>& to) {
  typedef std::uint16_t Halves __attribute__((vector_size(32)));  // NOLINT(modernize-use-using)
  typedef std::uint32_t Words __attribute__((vector_size(64)));   // NOLINT(modernize-use-using)
  Halves bits;
  std::memcpy(&bits, from, sizeof bits);
  const Words words = __builtin_convertvector(bits, Words) << 16;
  std::memcpy(&to, &words, sizeof to);
}

// The first n < lanes elements, then zeros.
template <class Element>
LMNET_INLINE void load_some(const Element* from, std::int64_t n, Lanes<Wide<Element>>& to) {
  Element padded[lanes<Wide<Element>>] = {};
  for (std::int64_t i = 0; i < n; ++i) {
    padded[i] = from[i];
  }
  load(padded, to);
}

template <class Number>
struct Quarter {
  typedef Number Type __attribute__((vector_size(16)));  // NOLINT(modernize-use-using)
};

// Lanes i, i + n / 4, i + n / 2 and i + 3n / 4 added up.
template <class Number>
LMNET_INLINE void add_quarters(const Lanes<Number>& value, typename Quarter<Number>::Type& sums) {
  typedef Number Half __attribute__((vector_size(32)));  // NOLINT(modernize-use-using)
  Half half[2];
  std::memcpy(half, &value, sizeof value);
  half[0] += half[1];
  typename Quarter<Number>::Type quarter[2];
  std::memcpy(quarter, half, sizeof quarter);
  sums = quarter[0] + quarter[1];
}

// The sum of the lanes, always folded in the same order.
template <class Number>
LMNET_INLINE Number sum_lanes(const Lanes<Number>& value) {
  typename Quarter<Number>::Type q;
  add_quarters<Number>(value, q);
  if constexpr (sizeof(Number) == 8) {
    return q[0] + q[1];
  } else {
    return (q[0] + q[2]) + (q[1] + q[3]);
  }
}

// The same of four vectors, in fewer instructions.
template <class Number>
LMNET_INLINE void sum_lanes(const Lanes<Number> (&values)[4], Number (&sums)[4]) {
  if constexpr (sizeof(Number) == 8) {
    for (int i = 0; i < 4; ++i) {
      sums[i] = sum_lanes<Number>(values[i]);
    }
  } else {
    typedef std::int32_t Places __attribute__((vector_size(16)));  // NOLINT(modernize-use-using)
    typename Quarter<Number>::Type q[4];
    for (int i = 0; i < 4; ++i) {
      add_quarters<Number>(values[i], q[i]);
    }
    const auto pair = [](const auto& a, const auto& b, auto& both) __attribute__((always_inline)) {
      both = __builtin_shuffle(a, b, Places{0, 4, 1, 5}) + __builtin_shuffle(a, b, Places{2, 6, 3, 7});
    };
    typename Quarter<Number>::Type first, second;
    pair(q[0], q[1], first);
    pair(q[2], q[3], second);
    const auto all =
        __builtin_shuffle(first, second, Places{0, 1, 4, 5}) + __builtin_shuffle(first, second, Places{2, 3, 6, 7});
    std::memcpy(sums, &all, sizeof sums);
  }
}

}  // namespace lmnet::kernels
