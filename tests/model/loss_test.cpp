#include "model/loss.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

namespace lmnet {
namespace {

struct Case {
  at::Tensor hidden, weight, targets, learn;

  Case(int64_t positions, int64_t vocabulary, at::ScalarType dtype = at::kDouble) {
    at::Generator g = at::make_generator<at::CPUGeneratorImpl>(7);
    hidden = at::randn({positions, 8}, g, at::kDouble).to(dtype);
    weight = at::randn({vocabulary, 8}, g, at::kDouble).to(dtype);
    targets = at::randint(vocabulary, {positions}, g, at::kLong);
    learn = at::randint(3, {positions}, g, at::kLong) > 0;
  }
};

void expect_near(const at::Tensor& actual, const at::Tensor& expected, double tolerance) {
  ASSERT_EQ(actual.sizes(), expected.sizes());
  EXPECT_LE((actual.to(at::kDouble) - expected).abs().max().item<double>(),
            tolerance * expected.abs().max().item<double>());
}

/// Everything against the derivative of -log_softmax written down by hand on the whole [M, V].
void expect_like_plain(const Case& c, double scale, double tolerance, double smoothing = 0) {
  const at::Tensor hidden = c.hidden.to(at::kDouble), weight = c.weight.to(at::kDouble);
  const at::Tensor log_p = at::log_softmax(at::matmul(hidden, weight.t()), 1);
  const at::Tensor counts = c.learn.to(at::kDouble).unsqueeze(1), target = c.targets.clamp(0).unsqueeze(1);
  const at::Tensor wanted =
      at::zeros_like(log_p).scatter(1, target, 1) * (1 - smoothing) + smoothing / static_cast<double>(weight.size(0));
  const double sum = -(log_p * wanted * counts).sum().item<double>();
  const at::Tensor d_logits = (log_p.exp() - wanted) * counts * scale;

  at::Tensor weight_gradient =
      at::ones(weight.sizes(), c.hidden.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
  const HeadLoss result = head_loss(c.hidden, c.weight, c.targets, c.learn, scale, true, weight_gradient, smoothing);
  EXPECT_NEAR(result.sum.item<double>(), sum, tolerance * sum);
  expect_near(result.hidden_gradient, at::matmul(d_logits, weight), tolerance);
  expect_near(weight_gradient - 1, at::matmul(d_logits.t(), hidden), tolerance);
}

TEST(HeadLoss, agrees_with_plain_log_softmax_in_one_chunk_and_in_many) {
  expect_like_plain(Case(1, 11), 1, 1e-12);
  expect_like_plain(Case(50, 11), 0.25, 1e-12);
  expect_like_plain(Case(70, 70'000), 0.25, 1e-12);  // chunks of 64 and 6
  expect_like_plain(Case(1'100, 4'096), 2, 1e-12);   // chunks of 1024 and 76
}

TEST(HeadLoss, stays_near_it_in_narrower_types) {
  expect_like_plain(Case(300, 20'000, at::kFloat), 0.25, 1e-4);
  expect_like_plain(Case(150, 500, at::kBFloat16), 0.25, 0.03);
}

TEST(HeadLoss, label_smoothing_is_uniform_over_the_vocabulary) {
  expect_like_plain(Case(50, 11), 0.25, 1e-12, 0.1);
  expect_like_plain(Case(70, 70'000), 1, 1e-12, 0.3);
  expect_like_plain(Case(300, 20'000, at::kFloat), 0.25, 1e-4, 0.1);
}

TEST(HeadLoss, positions_that_do_not_count_have_no_loss_no_gradient_and_any_target) {
  Case c(20, 11);
  c.targets.masked_fill_(c.learn.logical_not(), -100);
  expect_like_plain(c, 1, 1e-12);
  const HeadLoss result = head_loss(c.hidden, c.weight, c.targets, c.learn, 1, true);
  EXPECT_EQ(result.hidden_gradient.index({c.learn.logical_not()}).abs().max().item<double>(), 0);
  const HeadLoss none = head_loss(c.hidden, c.weight, c.targets, at::zeros({20}, at::kBool), 1, true);
  EXPECT_EQ(none.sum.item<double>(), 0);
  EXPECT_EQ(none.hidden_gradient.abs().max().item<double>(), 0);
}

TEST(HeadLoss, without_gradients_gives_the_same_sum) {
  const Case c(300, 20'000);
  const HeadLoss result = head_loss(c.hidden, c.weight, c.targets, c.learn, 1, false);
  EXPECT_FALSE(result.hidden_gradient.defined());
  EXPECT_DOUBLE_EQ(result.sum.item<double>(),
                   head_loss(c.hidden, c.weight, c.targets, c.learn, 1, true).sum.item<double>());
}

TEST(HeadLoss, a_target_outside_the_vocabulary_is_refused) {
  Case c(3, 11);
  c.learn.fill_(true);
  c.targets[1] = 11;
  EXPECT_THROW(head_loss(c.hidden, c.weight, c.targets, c.learn, 1, true), c10::Error);
}

}  // namespace
}  // namespace lmnet
