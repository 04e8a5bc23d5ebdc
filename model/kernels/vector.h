#pragma once
// What the kernels share: element types, an exponential and sums that the compiler turns into vector instructions, and
// the choice of the element type of a tensor.
//
// A kernel is a loop over rows, marked LMNET_VECTORISED: it is compiled for AVX-512, AVX2 and plain x86-64, and the
// program takes what the processor offers. All it calls must be LMNET_INLINE, or it would not be compiled with it.
// The order of additions in a sum depends on its length only, so neither threads nor alignment change a bit.

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#ifdef __SANITIZE_THREAD__
// The choice among the clones runs before that sanitizer has started, and would crash.
#define LMNET_VECTORISED
#else
#define LMNET_VECTORISED __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#endif
#define LMNET_INLINE inline __attribute__((always_inline))

namespace lmnet::kernels {

// A bfloat16 number by its bits; c10::BFloat16's own conversions do not vectorise.
enum class Bf16 : std::uint16_t {};

// The type that elements are computed in.
template <class Element>
using Wide = std::conditional_t<std::is_same_v<Element, double>, double, float>;

LMNET_INLINE float widen(Bf16 x) {
  return __builtin_bit_cast(float, static_cast<std::uint32_t>(static_cast<std::uint16_t>(x)) << 16);
}
LMNET_INLINE float widen(float x) {
  return x;
}
LMNET_INLINE double widen(double x) {
  return x;
}

// Rounds to the nearest, ties to even; NaN stays NaN.
template <class Element>
LMNET_INLINE Element narrow(Wide<Element> x) {
  if constexpr (std::is_same_v<Element, Bf16>) {
    const auto bits = __builtin_bit_cast(std::uint32_t, x);
    const std::uint32_t rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
    const std::uint32_t quiet_nan = (bits >> 16) | 0x40U;
    return static_cast<Bf16>(static_cast<std::uint16_t>(x != x ? quiet_nan : rounded));
  } else {
    return x;
  }
}

LMNET_INLINE double exponential(double x) {
  return std::exp(x);
}

// 2^n * e^r with |r| <= log(2) / 2 and a polynomial for e^r (coefficients of Cephes' expf); error about one unit in the
// last place, right down to denormals, 0 and infinity.
LMNET_INLINE float exponential(float x) {
  constexpr float round_to_integer = 12582912.0F;  // 1.5 * 2^23: adding it leaves no bits for a fraction
  x = x < -104.0F ? -104.0F : x;                   // written so that NaN falls through both
  x = x > 89.0F ? 89.0F : x;
  const float shifted = x * 1.44269504F + round_to_integer;
  const float n = shifted - round_to_integer;
  const float r = (x - n * 0.693359375F) + n * 2.12194440e-4F;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * (r * r) + r + 1.0F;
  // 2^n is multiplied in as two powers, since n reaches beyond the exponents of a float on both sides.
  const std::int32_t power =
      __builtin_bit_cast(std::int32_t, shifted) - __builtin_bit_cast(std::int32_t, round_to_integer);
  const std::int32_t half = power >> 1;
  const auto two_to_the = [](std::int32_t e) __attribute__((always_inline)) {
    return __builtin_bit_cast(float, static_cast<std::uint32_t>(e + 127) << 23);
  };
  return p * two_to_the(half) * two_to_the(power - half);
}

constexpr std::int64_t lane_count = 64;

// Folds term(0), ..., term(n - 1) with `combine`, in lane_count lanes that are then folded pairwise.
template <class Number, class Combine, class Term>
LMNET_INLINE Number fold(std::int64_t n, Number start, Combine combine, Term term) {
  alignas(64) Number lane[lane_count];
  for (Number& value : lane) {
    value = start;
  }
  std::int64_t i = 0;
  for (; i + lane_count <= n; i += lane_count) {
    for (std::int64_t l = 0; l < lane_count; ++l) {
      lane[l] = combine(lane[l], term(i + l));
    }
  }
  for (std::int64_t l = 0; i + l < n; ++l) {
    lane[l] = combine(lane[l], term(i + l));
  }
  for (std::int64_t width = lane_count / 2; width > 0; width /= 2) {
    for (std::int64_t l = 0; l < width; ++l) {
      lane[l] = combine(lane[l], lane[l + width]);
    }
  }
  return lane[0];
}

template <class Number, class Term>
LMNET_INLINE Number sum(std::int64_t n, Term term) {
  const auto add = [](Number a, Number b) __attribute__((always_inline)) {
    return a + b;
  };
  return fold<Number>(n, Number{0}, add, term);
}

// The largest of `least` and all terms that are not NaN.
template <class Number, class Term>
LMNET_INLINE Number largest(std::int64_t n, Number least, Term term) {
  const auto larger = [](Number a, Number b) __attribute__((always_inline)) {
    return b > a ? b : a;
  };
  return fold<Number>(n, least, larger, term);
}

// Rows that one thread should take at least, for rows of this many elements.
inline std::int64_t grain(std::int64_t row_length) {
  return std::max<std::int64_t>(1, 32768 / std::max<std::int64_t>(1, row_length));
}

inline at::ScalarType wide_type(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

template <class Element>
const Element* data(const at::Tensor& tensor) {
  return static_cast<const Element*>(tensor.const_data_ptr());
}

template <class Element>
Element* mutable_data(const at::Tensor& tensor) {
  return static_cast<Element*>(tensor.mutable_data_ptr());
}

// A kernel's backward writes plain numbers: a second derivative would silently miss it.
inline void check_first_order(const char* kernel) {
  TORCH_CHECK(!at::GradMode::is_enabled(), kernel, ": has no second derivative; call backward without create_graph.");
}

// Calls body(element) with a value of the tensor's element type: Bf16, float or double.
template <class Body>
void with_element_of(const at::Tensor& tensor, const char* kernel, Body body) {
  TORCH_CHECK(tensor.is_cpu(), kernel, ": tensor is on ", tensor.device(), ", not on the CPU.");
  switch (tensor.scalar_type()) {
    case at::kBFloat16:
      return body(Bf16{});
    case at::kFloat:
      return body(float{});
    case at::kDouble:
      return body(double{});
    default:
      TORCH_CHECK(false, kernel, ": elements are ", tensor.scalar_type(), ", not bfloat16, float32 or float64.");
  }
}

}  // namespace lmnet::kernels
