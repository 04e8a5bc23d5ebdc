#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "model/kernels/vector.h"

namespace lmnet {
namespace {

TEST(Exponential, is_off_by_two_units_in_the_last_place_at_most) {
  for (float x = -87.0F; x < 88.7F; x += 0.00137F) {
    const double expected = std::exp(static_cast<double>(x));
    ASSERT_NEAR(kernels::exponential(x) / expected, 1, 2 * std::numeric_limits<float>::epsilon()) << x;
  }
}

TEST(Exponential, has_denormals_zero_infinity_and_nan) {
  EXPECT_EQ(kernels::exponential(0.0F), 1.0F);
  EXPECT_NEAR(kernels::exponential(-95.0F) / std::exp(-95.0), 1, 1e-3);
  EXPECT_EQ(kernels::exponential(-std::numeric_limits<float>::infinity()), 0.0F);
  EXPECT_EQ(kernels::exponential(std::numeric_limits<float>::infinity()), std::numeric_limits<float>::infinity());
  EXPECT_EQ(kernels::exponential(89.0F), std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(kernels::exponential(std::numeric_limits<float>::quiet_NaN())));
}

TEST(Bf16, is_rounded_like_ATen) {
  for (std::uint64_t bits = 0; bits < (std::uint64_t{1} << 32); bits += 0x1fff) {
    const auto x = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
    const float rounded = kernels::widen(kernels::narrow<kernels::Bf16>(x));
    if (std::isnan(x)) {
      ASSERT_TRUE(std::isnan(rounded)) << bits;
    } else {
      ASSERT_EQ(rounded, static_cast<float>(at::BFloat16(x))) << bits;
    }
  }
}

}  // namespace
}  // namespace lmnet
