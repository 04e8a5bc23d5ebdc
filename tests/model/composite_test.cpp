#include "model/kernels/composite.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>
#include <vector>

#include "model/kernels/kernels.h"
#include "model/sequence.h"

namespace lmnet {
namespace {

using Values = std::vector<at::Tensor>;

constexpr auto kDtypes = {at::kDouble, at::kFloat, at::kBFloat16};

/// bf16 is rounded at several places in the composites, where the kernels round once.
double tolerance(at::ScalarType type) {
  return type == at::kDouble ? 1e-12 : type == at::kFloat ? 2e-5 : 0.03;
}

void expect_alike(const at::Tensor& composite, const at::Tensor& fused) {
  ASSERT_EQ(composite.sizes(), fused.sizes());
  EXPECT_EQ(composite.scalar_type(), fused.scalar_type());
  if (fused.numel() == 0) return;
  const at::Tensor exact = fused.to(at::kDouble);
  const double error = (composite.to(at::kDouble) - exact).abs().max().item<double>();
  EXPECT_LE(error, tolerance(fused.scalar_type()) * exact.abs().max().item<double>()) << fused.scalar_type();
}

/// Outputs and gradients of both, in every element type.
void expect_agreement(const std::function<Values(const Values&)>& composite,
                      const std::function<Values(const Values&)>& fused, const Values& values) {
  for (const auto type : kDtypes) {
    const auto run = [&](const auto& function) {
      Values inputs, upstream;
      for (const at::Tensor& value : values)
        inputs.push_back(value.to(type, /*non_blocking=*/false, /*copy=*/true).requires_grad_());
      Values results = function(inputs);
      for (const at::Tensor& result : results)
        upstream.push_back(at::arange(result.numel(), at::kDouble).mul_(0.7).sin_().view(result.sizes()).to(type));
      const Values gradients = torch::autograd::grad(results, inputs, upstream);
      results.insert(results.end(), gradients.begin(), gradients.end());
      return results;
    };
    const Values actual = run(composite), expected = run(fused);
    for (size_t i = 0; i < expected.size(); ++i) expect_alike(actual[i].detach(), expected[i].detach());
  }
}

class Composite : public ::testing::Test {
 protected:
  void SetUp() override { at::manual_seed(1); }
};

TEST_F(Composite, document_attention_is_the_kernel) {
  const DocumentStarts documents = {{0}, {0, 1, 5}, {0, 6, 7, 8}};
  const at::Tensor ids = document_ids(documents, 9, at::kCPU);
  for (const int64_t shared : {1, 2})
    expect_agreement(
        [&](const Values& in) { return Values{composite::document_attention(in[0], in[1], in[2], ids, 0.4)}; },
        [&](const Values& in) { return Values{document_attention(in[0], in[1], in[2], documents, 0.4)}; },
        {at::randn({3, 4, 9, 8}), at::randn({3, 4 / shared, 9, 8}), at::randn({3, 4 / shared, 9, 8})});
}

TEST_F(Composite, rms_norm_is_the_kernel) {
  for (const int64_t stack : {1, 3})
    expect_agreement([](const Values& in) { return Values{composite::rms_norm(in[0], in[1], 1e-5)}; },
                     [](const Values& in) { return Values{rms_norm(in[0], in[1], 1e-5)}; },
                     {at::randn({stack, 6, 40}), at::randn({stack, 40})});
  const at::Tensor x = at::randn({1, 6, 40}).to(at::kBFloat16), weight = at::randn({1, 40});
  expect_alike(composite::rms_norm(x, weight, 1e-5), rms_norm(x, weight, 1e-5));
}

TEST_F(Composite, swiglu_is_the_kernel) {
  expect_agreement([](const Values& in) { return Values{composite::swiglu(in[0])}; },
                   [](const Values& in) { return Values{swiglu(in[0])}; }, {2 * at::randn({2, 5, 34})});
}

TEST_F(Composite, qkv_rotary_is_the_kernel_with_common_and_with_own_positions) {
  for (const auto& shape : std::vector<std::vector<int64_t>>{{5, 8}, {3, 5, 8}}) {
    const at::Tensor cos = at::randn(shape), sin = at::randn(shape);
    const auto with = [&](const auto& split) {
      return [&](const Values& in) {
        const auto type = in[0].scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
        const auto [q, k, v] = split(in[0], cos.to(type), sin.to(type), 4, 2, 8);
        EXPECT_TRUE(q.is_contiguous() && k.is_contiguous() && v.is_contiguous());
        return Values{q, k, v};
      };
    };
    expect_agreement(with(composite::qkv_rotary), with(qkv_rotary), {at::randn({3, 5, 64})});
  }
}

TEST_F(Composite, cross_entropy_is_the_kernel_with_and_without_smoothing) {
  for (const auto type : kDtypes)
    for (const double smoothing : {0.0, 0.1})
      for (const bool want_gradient : {true, false}) {
        at::Tensor logits = (5 * at::randn({6, 70})).to(type), fused_logits = logits.clone();
        const at::Tensor mask = at::tensor({1, 0, 1, 1, 0, 1}).to(at::kBool);
        const at::Tensor targets = at::randint(70, {6}, at::kLong).where(mask, at::full({6}, -100, at::kLong));
        at::Tensor losses = at::empty({6}, type == at::kDouble ? at::kDouble : at::kFloat);
        at::Tensor fused_losses = at::empty_like(losses);
        composite::cross_entropy_inplace(logits, targets, mask, 0.25, losses, want_gradient, smoothing);
        cross_entropy_inplace(fused_logits, targets, mask, 0.25, fused_losses, want_gradient, smoothing);
        expect_alike(losses, fused_losses);
        expect_alike(logits, fused_logits);
        EXPECT_FALSE(losses.index({~mask}).any().item<bool>());
        EXPECT_TRUE(!want_gradient || !logits.index({~mask}).any().item<bool>());
      }
}

TEST_F(Composite, cross_entropy_leaves_masked_rows_zero_also_where_they_are_not_finite) {
  at::Tensor logits = at::randn({2, 9}), losses = at::empty({2});
  logits[1].fill_(std::nan(""));
  composite::cross_entropy_inplace(logits, at::tensor({3, 3}, at::kLong), at::tensor({1, 0}).to(at::kBool), 1, losses,
                                   true, 0.1);
  EXPECT_TRUE(logits.isfinite().all().item<bool>());
  EXPECT_EQ(losses[1].item<float>(), 0);
}

TEST_F(Composite, steps_of_a_generation_are_the_kernels) {
  const at::NoGradGuard no_grad;
  const at::Tensor x = at::randn({2, 3, 16}), weight = at::randn({2, 5, 16}), bias = at::randn({2, 5});
  expect_alike(composite::linear_few_rows(x, weight, bias), linear_few_rows(x, weight, bias));
  expect_alike(composite::linear_few_rows(x, weight, {}), linear_few_rows(x, weight));
  const at::Tensor q = at::randn({6, 4, 1, 8}), k = at::randn({6, 2, 1, 8}), v = at::randn({6, 2, 1, 8});
  at::Tensor keys = at::randn({6, 2, 10, 8}), values = at::randn({6, 2, 10, 8});
  at::Tensor other_keys = keys.clone(), other_values = values.clone();
  const std::vector<int64_t> start = {3, 0, 7};
  expect_alike(composite::attend_step(q, k, v, keys, values, start, 0.3),
               attend_step(q, k, v, other_keys, other_values, start, 0.3));
  EXPECT_TRUE(at::equal(keys, other_keys));
  EXPECT_TRUE(at::equal(values, other_values));
}

}  // namespace
}  // namespace lmnet
