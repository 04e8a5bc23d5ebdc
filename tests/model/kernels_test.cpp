#include "model/kernels/kernels.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <functional>
#include <limits>
#include <vector>

namespace lmnet {
namespace {

using Tensors = std::vector<at::Tensor>;
using Operator = std::function<Tensors(const Tensors&)>;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();
const auto element_types = {at::kDouble, at::kFloat, at::kBFloat16};

// One rounding to bfloat16 is off by 2^-8 of the value at most.
void expect_close(const at::Tensor& actual, const at::Tensor& expected) {
  ASSERT_EQ(actual.sizes(), expected.sizes());
  if (actual.numel() == 0) {
    return;
  }
  const auto type = actual.scalar_type();
  const double relative = type == at::kDouble ? 1e-12 : type == at::kFloat ? 1e-5 : std::ldexp(1.01, -8);
  const double absolute = (type == at::kDouble ? 1e-12 : 1e-5) * expected.abs().max().item<double>();
  const at::Tensor difference = (actual.to(at::kDouble) - expected).abs();
  EXPECT_TRUE((difference <= relative * expected.abs() + absolute).all().item<bool>())
      << type << " " << actual.sizes() << ": off by " << difference.max().item<double>();
}

Tensors leaves(const Tensors& values, at::ScalarType type) {
  Tensors result;
  for (const at::Tensor& value : values) {
    result.push_back(value.detach().to(type, /*non_blocking=*/false, /*copy=*/true).requires_grad_());
  }
  return result;
}

// Outputs of `fused` and gradients of its inputs agree with `composite` in float64, in every element type.
void expect_agreement(const Operator& fused, const Operator& composite, const Tensors& values) {
  for (const auto type : element_types) {
    const Tensors inputs = leaves(values, type);
    const Tensors exact_inputs = leaves(inputs, at::kDouble);
    const Tensors outputs = fused(inputs);
    const Tensors exact_outputs = composite(exact_inputs);
    Tensors upstream, exact_upstream;
    for (size_t i = 0; i < outputs.size(); ++i) {
      EXPECT_EQ(outputs[i].scalar_type(), type);
      expect_close(outputs[i].detach(), exact_outputs[i].detach());
      upstream.push_back(at::randn_like(outputs[i].detach()));
      exact_upstream.push_back(upstream.back().to(at::kDouble));
    }
    const Tensors gradients = torch::autograd::grad(outputs, inputs, upstream);
    const Tensors exact = torch::autograd::grad(exact_outputs, exact_inputs, exact_upstream);
    for (size_t i = 0; i < inputs.size(); ++i) {
      EXPECT_EQ(gradients[i].scalar_type(), type);
      expect_close(gradients[i], exact[i]);
    }
  }
}

// Outputs and gradients have the same bits with one thread and with two.
void expect_same_bits_with_two_threads(const Operator& fused, const Tensors& values) {
  const int threads = at::get_num_threads();
  for (const auto type : element_types) {
    Tensors results[2];
    for (const int count : {1, 2}) {
      at::set_num_threads(count);
      const Tensors inputs = leaves(values, type);
      Tensors outputs = fused(inputs);
      Tensors upstream;
      for (at::Tensor& output : outputs) {
        upstream.push_back(at::cos(at::arange(output.numel()).to(type)).view(output.sizes()));
      }
      results[count - 1] = torch::autograd::grad(outputs, inputs, upstream);
      results[count - 1].insert(results[count - 1].end(), outputs.begin(), outputs.end());
    }
    for (size_t i = 0; i < results[0].size(); ++i) {
      EXPECT_TRUE(at::equal(results[0][i], results[1][i])) << type << ", tensor " << i;
    }
  }
  at::set_num_threads(threads);
}

Tensors fused_rms_norm(const Tensors& in) {
  return {rms_norm(in[0], in[1], 1e-5)};
}
Tensors composite_rms_norm(const Tensors& in) {
  return {in[0] * at::rsqrt(in[0].square().mean(-1, true) + 1e-5) * in[1].unsqueeze(1)};
}
Tensors fused_swiglu(const Tensors& in) {
  return {swiglu(in[0])};
}
Tensors composite_swiglu(const Tensors& in) {
  const Tensors halves = in[0].chunk(2, -1);
  return {at::silu(halves[0]) * halves[1]};
}

TEST(RmsNorm, agrees_with_composite_ATen) {
  for (const auto& shape : std::vector<std::vector<int64_t>>{{1, 5, 7}, {3, 70, 64}, {2, 1, 3}, {1, 200, 131}}) {
    expect_agreement(fused_rms_norm, composite_rms_norm, {at::randn(shape), at::randn({shape[0], shape[2]})});
  }
}

TEST(RmsNorm, of_no_rows_has_a_zero_gradient_for_the_weight) {
  const at::Tensor x = at::randn({2, 0, 8}).requires_grad_(), weight = at::randn({2, 8}).requires_grad_();
  const auto gradients = torch::autograd::grad({rms_norm(x, weight, 1e-5)}, {x, weight}, {at::empty({2, 0, 8})});
  EXPECT_EQ(gradients[0].sizes(), x.sizes());
  EXPECT_TRUE(at::equal(gradients[1], at::zeros({2, 8})));
}

TEST(RmsNorm, takes_any_strides) {
  expect_agreement(
      [](const Tensors& in) {
        return fused_rms_norm({in[0].transpose(0, 1), in[1]});
      },
      [](const Tensors& in) {
        return composite_rms_norm({in[0].transpose(0, 1), in[1]});
      },
      {at::randn({9, 2, 16}), at::randn({2, 16})});
}

TEST(RmsNorm, gives_the_gradient_of_the_weight_in_the_type_of_the_weight) {
  const at::Tensor x = at::randn({2, 40, 16}).to(at::kBFloat16), weight = at::randn({2, 16}).requires_grad_();
  const at::Tensor y = rms_norm(x, weight, 1e-5);
  EXPECT_EQ(y.scalar_type(), at::kBFloat16);
  const at::Tensor exact_weight = weight.detach().to(at::kDouble).requires_grad_();
  const at::Tensor exact = composite_rms_norm({x.to(at::kDouble), exact_weight})[0];
  expect_close(torch::autograd::grad({y}, {weight}, {at::ones_like(y)})[0],
               torch::autograd::grad({exact}, {exact_weight}, {at::ones_like(exact)})[0]);
}

TEST(RmsNorm, leaves_a_frozen_weight_without_gradient) {
  const at::Tensor x = at::randn({2, 40, 16}).requires_grad_(), weight = at::randn({2, 16});
  rms_norm(x, weight, 1e-5).sum().backward();
  EXPECT_TRUE(x.grad().defined());
  EXPECT_FALSE(weight.grad().defined());
}

TEST(Kernels, record_nothing_when_nothing_needs_a_gradient) {
  EXPECT_FALSE(rms_norm(at::randn({1, 2, 4}), at::randn({1, 4}), 1e-5).grad_fn());
  EXPECT_FALSE(swiglu(at::randn({2, 4})).grad_fn());
  const at::Tensor recorded = at::randn({2, 4}).requires_grad_();
  const at::NoGradGuard guard;
  EXPECT_FALSE(swiglu(recorded).grad_fn());
}

TEST(RmsNorm, spreads_nan_over_its_row_only) {
  for (const auto type : element_types) {
    const at::Tensor x = at::randn({1, 3, 70}).to(type);
    x.select(1, 1).select(-1, 66).fill_(nan);
    const at::Tensor bad = rms_norm(x, at::ones({1, 70}), 1e-5).isnan();
    EXPECT_TRUE(bad.select(1, 1).all().item<bool>());
    EXPECT_EQ(bad.sum().item<int64_t>(), 70);
  }
}

TEST(Kernels, do_not_depend_on_the_number_of_threads) {
  expect_same_bits_with_two_threads(fused_rms_norm, {at::randn({1, 777, 130}), at::randn({1, 130})});
  expect_same_bits_with_two_threads(fused_rms_norm, {at::randn({3, 333, 67}), at::randn({3, 67})});
  expect_same_bits_with_two_threads(fused_swiglu, {at::randn({517, 2 * 133})});
  const at::Tensor cos = at::randn({100, 16}), sin = at::randn({100, 16});
  expect_same_bits_with_two_threads(
      [&](const Tensors& in) {
        const auto type = in[0].scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
        const auto [q, k, v] = qkv_rotary(in[0], cos.to(type), sin.to(type), 4, 2, 16);
        return Tensors{q, k, v};
      },
      {at::randn({8, 100, 8 * 16})});
}

TEST(Kernels, refuse_a_second_derivative) {
  const at::Tensor x = at::randn({2, 4}).requires_grad_();
  EXPECT_THROW(torch::autograd::grad({swiglu(x).sum()}, {x}, {}, std::nullopt, /*create_graph=*/true), c10::Error);
}

TEST(Swiglu, agrees_with_composite_ATen) {
  for (const auto& shape : std::vector<std::vector<int64_t>>{{6}, {5, 2}, {2, 3, 34}, {2, 65, 1030}, {0, 8}, {3, 0}}) {
    expect_agreement(fused_swiglu, composite_swiglu, {2 * at::randn(shape)});
  }
}

TEST(Swiglu, takes_any_strides) {
  expect_agreement([](const Tensors& in) { return fused_swiglu({in[0].t()}); },
                   [](const Tensors& in) { return composite_swiglu({in[0].t()}); }, {at::randn({12, 5})});
}

TEST(Swiglu, treats_huge_values_infinities_and_nan_like_ATen) {
  const at::Tensor gate = at::tensor({-infinity, -1e30, -104., -89., -1., 0., 1., 90., 1e30, infinity, nan, 1., 1.});
  const at::Tensor up = at::tensor({1., 1., 1., 1., nan, infinity, -infinity, 1., 1., 1., 1., nan, 0.});
  for (const auto type : element_types) {
    const at::Tensor fused = at::cat({gate, up}).to(type).requires_grad_();
    const at::Tensor composite = fused.detach().clone().requires_grad_();
    const at::Tensor y = swiglu(fused), expected = composite_swiglu({composite})[0];
    EXPECT_TRUE(at::allclose(y, expected, 1e-2, 1e-30, /*equal_nan=*/true)) << y << expected;
    const at::Tensor ones = at::ones_like(y);
    const at::Tensor gradient = torch::autograd::grad({y}, {fused}, {ones})[0];
    const at::Tensor expected_gradient = torch::autograd::grad({expected}, {composite}, {ones})[0];
    EXPECT_TRUE(at::equal(gradient.isnan(), expected_gradient.isnan())) << gradient << expected_gradient;
  }
}

TEST(Swiglu, refuses_an_odd_last_dimension) {
  EXPECT_THROW(swiglu(at::randn({2, 5})), c10::Error);
}

struct Rotary {
  int64_t H, G, K;
  at::Tensor cos, sin;

  Tensors fused(const Tensors& in) const {
    const auto type = in[0].scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    const auto [q, k, v] = qkv_rotary(in[0], cos.to(type), sin.to(type), H, G, K);
    return {q, k, v};
  }

  Tensors composite(const Tensors& in) const {
    Tensors parts = in[0].unflatten(-1, {H + 2 * G, K}).transpose(1, 2).split_with_sizes({H, G, G}, 1);
    for (at::Tensor* part : {&parts[0], &parts[1]}) {
      const Tensors halves = part->chunk(2, -1);
      const auto table = [&](const at::Tensor& angles) {
        return angles.to(part->scalar_type()).unsqueeze(angles.dim() == 3 ? 1 : 0);
      };
      *part = *part * table(cos) + at::cat({-halves[1], halves[0]}, -1) * table(sin);
    }
    return parts;
  }

  Operator fused_operator() const {
    return [this](const Tensors& in) { return fused(in); };
  }
  Operator composite_operator() const {
    return [this](const Tensors& in) { return composite(in); };
  }
};

// The tables are exact in float32, so that they are the same numbers in both operators.
Rotary rotary(std::vector<int64_t> table, int64_t H, int64_t G) {
  return {H, G, table.back(), at::randn(table, at::kFloat), at::randn(table, at::kFloat)};
}

TEST(QkvRotary, agrees_with_composite_ATen) {
  for (const auto& [N, shared] : std::vector<std::pair<int64_t, Rotary>>{{2, rotary({5, 64}, 4, 2)},
                                                                         {1, rotary({1, 2}, 1, 1)},
                                                                         {3, rotary({70, 6}, 3, 1)},
                                                                         {2, rotary({2, 9, 10}, 2, 2)},
                                                                         {0, rotary({4, 8}, 2, 1)}}) {
    const int64_t T = shared.cos.size(-2), width = (shared.H + 2 * shared.G) * shared.K;
    expect_agreement(shared.fused_operator(), shared.composite_operator(), {at::randn({N, T, width})});
  }
}

TEST(QkvRotary, returns_contiguous_heads) {
  const Rotary operators = rotary({5, 8}, 4, 2);
  for (const at::Tensor& part : operators.fused({at::randn({3, 5, 64})})) {
    EXPECT_TRUE(part.is_contiguous());
    EXPECT_EQ(part.size(2), 5);
  }
}

TEST(QkvRotary, takes_any_strides_of_input_and_gradients) {
  const Rotary operators = rotary({5, 8}, 4, 2);
  const auto with_strides = [](const Operator& split) {
    return [split](const Tensors& in) {
      const Tensors parts = split({in[0].transpose(0, 1)});
      return Tensors{parts[0].transpose(1, 2) * 1.5, parts[1].transpose(2, 3) * 0.5,
                     parts[2].sum(at::IntArrayRef{0, 1})};
    };
  };
  const Tensors values{at::randn({5, 3, 64}).to(at::kBFloat16).to(at::kFloat)};
  const Tensors inputs = leaves(values, at::kDouble), exact_inputs = leaves(values, at::kDouble);
  const Tensors outputs = with_strides(operators.fused_operator())(inputs);
  const Tensors exact = with_strides(operators.composite_operator())(exact_inputs);
  for (size_t i = 0; i < outputs.size(); ++i) {
    expect_close(outputs[i].detach(), exact[i].detach());
    outputs[i].square().sum().backward({}, /*retain_graph=*/true);
    exact[i].square().sum().backward({}, /*retain_graph=*/true);
    expect_close(inputs[0].grad(), exact_inputs[0].grad());
  }
}

TEST(QkvRotary, takes_unused_parts_as_zero_gradient) {
  const Rotary operators = rotary({5, 8}, 4, 2);
  const at::Tensor qkv = at::randn({3, 5, 64}).requires_grad_();
  operators.fused({qkv})[1].sum().backward();
  const at::Tensor zeros = qkv.grad().eq(0);
  EXPECT_TRUE(zeros.narrow(-1, 0, 32).all().item<bool>());
  EXPECT_FALSE(zeros.narrow(-1, 32, 16).any().item<bool>());
  EXPECT_TRUE(zeros.narrow(-1, 48, 16).all().item<bool>());
}

TEST(QkvRotary, refuses_tables_and_widths_that_do_not_fit) {
  const at::Tensor qkv = at::randn({3, 5, 64}), table = at::randn({5, 8});
  EXPECT_THROW(qkv_rotary(qkv, table, table, 4, 1, 8), c10::Error);
  EXPECT_THROW(qkv_rotary(qkv, at::randn({6, 8}), at::randn({6, 8}), 4, 2, 8), c10::Error);
  EXPECT_THROW(qkv_rotary(qkv, table.to(at::kDouble), table.to(at::kDouble), 4, 2, 8), c10::Error);
  EXPECT_THROW(qkv_rotary(qkv, table, at::randn({3, 5, 8}), 4, 2, 8), c10::Error);
}

struct CrossEntropy {
  at::Tensor losses, logits;
};

CrossEntropy cross_entropy(const at::Tensor& logits, const at::Tensor& targets, const at::Tensor& mask, double scale,
                           bool want_gradient = true) {
  const auto type = logits.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  CrossEntropy result{at::full({logits.size(0)}, nan, type), logits.clone()};
  cross_entropy_inplace(result.logits, targets, mask, scale, result.losses, want_gradient);
  return result;
}

TEST(CrossEntropyInplace, agrees_with_ATen_and_leaves_masked_rows_out) {
  for (const auto type : element_types) {
    for (const int64_t vocabulary : {1, 7, 64, 5003}) {
      const at::Tensor logits = (5 * at::randn({6, vocabulary})).to(type);
      const at::Tensor mask = at::tensor({1, 0, 1, 1, 0, 1}).to(at::kBool);
      const at::Tensor targets = at::randint(vocabulary, {6}, at::kLong).where(mask, at::full({6}, -100, at::kLong));
      const at::Tensor exact = logits.to(at::kDouble).requires_grad_();
      const at::Tensor losses = at::cross_entropy_loss(exact, targets, {}, at::Reduction::None);
      const CrossEntropy fused = cross_entropy(logits, targets, mask, 0.25);
      expect_close(fused.losses, losses.detach());
      expect_close(fused.logits, torch::autograd::grad({losses}, {exact}, {at::full({6}, 0.25, at::kDouble)})[0]);
      EXPECT_FALSE(fused.logits.index({~mask}).any().item<bool>());
      EXPECT_FALSE(fused.losses.index({~mask}).any().item<bool>());
    }
  }
}

TEST(CrossEntropyInplace, leaves_the_logits_when_no_gradient_is_wanted) {
  const at::Tensor logits = at::randn({3, 9}), targets = at::tensor({0, 8, 3}, at::kLong);
  const at::Tensor mask = at::tensor({1, 1, 0}).to(at::kBool);
  const CrossEntropy fused = cross_entropy(logits, targets, mask, 1, false);
  EXPECT_TRUE(at::equal(fused.logits, logits));
  EXPECT_TRUE(at::equal(fused.losses, cross_entropy(logits, targets, mask, 1).losses));
}

TEST(CrossEntropyInplace, takes_no_rows) {
  EXPECT_EQ(cross_entropy(at::empty({0, 9}), at::empty({0}, at::kLong), at::empty({0}, at::kBool), 1).losses.numel(),
            0);
}

TEST(CrossEntropyInplace, is_finite_for_huge_logits_and_excluded_words) {
  at::Tensor logits = at::full({2, 3000}, -infinity);
  logits.select(1, 2999).fill_(2.0);
  logits.select(1, 2998).fill_(2.0);
  logits[1][0] = 3e4;
  const at::Tensor targets = at::tensor({2999, 0}, at::kLong), mask = at::ones({2}, at::kBool);
  const CrossEntropy fused = cross_entropy(logits, targets, mask, 1);
  EXPECT_FLOAT_EQ(fused.losses[0].item<float>(), std::log(2.0F));
  EXPECT_EQ(fused.losses[1].item<float>(), 0.0F);
  EXPECT_FLOAT_EQ(fused.logits[0][2999].item<float>(), -0.5F);
  EXPECT_EQ(fused.logits[0][0].item<float>(), 0.0F);
}

TEST(CrossEntropyInplace, gives_nan_for_rows_with_nan_or_infinity) {
  for (const auto type : element_types) {
    at::Tensor logits = at::randn({4, 3000}).to(type);
    logits[0][2500] = nan;
    logits[1][10] = infinity;
    logits[2].fill_(-infinity);
    const CrossEntropy fused = cross_entropy(logits, at::full({4}, 5, at::kLong), at::ones({4}, at::kBool), 1);
    EXPECT_TRUE(fused.losses.narrow(0, 0, 3).isnan().all().item<bool>()) << fused.losses;
    EXPECT_TRUE(fused.logits.narrow(0, 0, 3).isnan().all().item<bool>());
    EXPECT_TRUE(fused.logits[3].isfinite().all().item<bool>());
  }
}

TEST(CrossEntropyInplace, does_not_depend_on_the_number_of_threads) {
  const int threads = at::get_num_threads();
  const at::Tensor logits = at::randn({32, 5000}).to(at::kBFloat16);
  const at::Tensor targets = at::randint(5000, {32}, at::kLong), mask = at::ones({32}, at::kBool);
  at::set_num_threads(1);
  const CrossEntropy one = cross_entropy(logits, targets, mask, 0.1);
  at::set_num_threads(2);
  const CrossEntropy two = cross_entropy(logits, targets, mask, 0.1);
  at::set_num_threads(threads);
  EXPECT_TRUE(at::equal(one.logits, two.logits));
  EXPECT_TRUE(at::equal(one.losses, two.losses));
}

TEST(CrossEntropyInplace, names_the_row_of_a_target_outside_the_vocabulary) {
  const at::Tensor targets = at::tensor({1, 9}, at::kLong), mask = at::ones({2}, at::kBool);
  try {
    cross_entropy(at::randn({2, 9}), targets, mask, 1);
    FAIL() << "no error";
  } catch (const c10::Error& error) {
    EXPECT_THAT(error.what_without_backtrace(), testing::HasSubstr("target 9 of row 1"));
  }
}

}  // namespace
}  // namespace lmnet
