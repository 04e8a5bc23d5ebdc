#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>

#include "model/kernels/kernels.h"

namespace lmnet {
namespace {

const auto element_types = {at::kDouble, at::kFloat, at::kBFloat16};

/// `actual` against what float64 gives for the same values.
void expect_near(const at::Tensor& actual, const at::Tensor& exact) {
  ASSERT_EQ(actual.sizes(), exact.sizes());
  const auto type = actual.scalar_type();
  const double tolerance = type == at::kDouble ? 1e-13 : type == at::kFloat ? 1e-6 : std::ldexp(1, -8);
  const double error = (actual.to(at::kDouble) - exact).abs().max().item<double>();
  EXPECT_LE(error, tolerance * exact.abs().max().item<double>()) << type << " " << actual.sizes();
}

struct Product {
  int64_t modules, rows, outputs, inputs;
};
const auto products = {Product{1, 1, 7, 5}, {3, 5, 9, 40}, {2, 9, 64, 64},
                       {1, 33, 100, 131},   {1, 0, 4, 4},  {4, 4, 1, 1}};

class StepKernels : public ::testing::Test {
 protected:
  void SetUp() override { at::manual_seed(1); }
  c10::AutoGradMode no_gradients_{false};
};

TEST_F(StepKernels, FewRowsAgreeWithTheProduct) {
  for (const auto type : element_types)
    for (const auto& [modules, rows, outputs, inputs] : products) {
      const at::Tensor x = at::randn({modules, rows, inputs}, type), w = at::randn({modules, outputs, inputs}, type);
      const at::Tensor bias = at::randn({modules, outputs}, type);
      const at::Tensor exact = at::bmm(x.to(at::kDouble), w.to(at::kDouble).transpose(1, 2));
      if (rows == 0) {
        EXPECT_EQ(linear_few_rows(x, w).sizes(), exact.sizes());
        continue;
      }
      expect_near(linear_few_rows(x, w), exact);
      expect_near(linear_few_rows(x, w, bias), exact + bias.to(at::kDouble).unsqueeze(1));
    }
}

TEST_F(StepKernels, ARowIsTheSameAmongAnyOthersAndForAnyNumberOfThreads) {
  const int threads = at::get_num_threads();
  for (const auto type : element_types)
    for (const auto& [modules, rows, outputs, inputs] : products) {
      const at::Tensor x = at::randn({modules, rows, inputs}, type), w = at::randn({modules, outputs, inputs}, type);
      at::set_num_threads(3);
      const at::Tensor together = linear_few_rows(x, w);
      at::set_num_threads(1);
      for (int64_t row = 0; row < rows; ++row)
        EXPECT_TRUE(at::equal(linear_few_rows(x.narrow(1, row, 1).contiguous(), w), together.narrow(1, row, 1)));
    }
  at::set_num_threads(threads);
}

TEST_F(StepKernels, NanStaysInItsRow) {
  at::Tensor x = at::randn({1, 3, 20}, at::kFloat);
  x[0][1][19] = std::nan("");
  const at::Tensor y = linear_few_rows(x, at::randn({1, 4, 20}, at::kFloat));
  EXPECT_TRUE(y[0][1].isnan().all().item<bool>());
  EXPECT_FALSE(y.index_select(1, at::tensor({0, 2})).isnan().any().item<bool>());
}

TEST_F(StepKernels, AStepAttendsToTheSlotsUpToItsOwn) {
  for (const auto type : element_types)
    for (const auto& [width, heads, groups] : {std::tuple{2, 4, 2}, {64, 4, 2}, {40, 6, 1}, {16, 3, 3}}) {
      const std::vector<int64_t> start = {3, 0, 90};
      const int64_t items = 6, slots = 91;
      // As split_heads() gives them without rotary positions: views of one tensor.
      const at::Tensor qkv = at::randn({items, 1, heads + 2 * groups, width}, type).transpose(1, 2);
      const at::Tensor q = qkv.narrow(1, 0, heads), k = qkv.narrow(1, heads, groups),
                       v = qkv.narrow(1, heads + groups, groups);
      at::Tensor keys = at::randn({items, groups, slots, width}, type), values = at::randn_like(keys);
      const at::Tensor before = keys.clone();
      const at::Tensor output = attend_step(q, k, v, keys, values, start, 0.3);
      for (int64_t n = 0; n < items; ++n) {
        const int64_t own = start[n % 3];
        EXPECT_TRUE(at::equal(keys[n].select(1, own), k[n].select(1, 0)));
        EXPECT_TRUE(at::equal(values[n].select(1, own), v[n].select(1, 0)));
        EXPECT_TRUE(at::equal(keys[n].narrow(1, 0, own), before[n].narrow(1, 0, own)));
        const auto seen = [&](const at::Tensor& all) {
          return all[n].narrow(1, 0, own + 1).to(at::kDouble).repeat_interleave(heads / groups, 0);
        };
        const at::Tensor scores = at::matmul(q[n].to(at::kDouble), seen(keys).transpose(1, 2)) * 0.3;
        const at::Tensor exact = at::matmul(at::softmax(scores, -1), seen(values));
        expect_near(output[n], exact.transpose(0, 1).reshape({1, heads * width}));
      }
    }
}

TEST_F(StepKernels, HaveNoDerivative) {
  const c10::AutoGradMode gradients(true);
  EXPECT_THROW(linear_few_rows(at::ones({1, 1, 2}), at::ones({1, 2, 2})), c10::Error);
}

}  // namespace
}  // namespace lmnet
