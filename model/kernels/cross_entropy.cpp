#include <ATen/Parallel.h>

#include "model/kernels/composite.h"
#include "model/kernels/kernels.h"
#include "model/kernels/vector.h"

namespace lmnet {
namespace {

using namespace kernels;

// exp(x) summed over a row is total * exp(shift), so that neither overflows.
template <class Number>
struct ExponentialSum {
  Number shift;
  Number total;
};

// One walk over the row: block by block, and when a block has a larger maximum the sum so far is scaled down to it.
template <class Element>
LMNET_INLINE ExponentialSum<Wide<Element>> exponential_sum(const Element* x, int64_t width) {
  using Number = Wide<Element>;
  constexpr int64_t block_length = 2048;
  constexpr Number lowest = std::numeric_limits<Number>::lowest();
  ExponentialSum<Number> so_far{lowest, 0};
  for (int64_t begin = 0; begin < width; begin += block_length) {
    const Element* block = x + begin;
    const int64_t length = std::min(block_length, width - begin);
    // Starting from a finite number keeps a block of -infinity from making -infinity - -infinity = NaN.
    const auto maximum = largest(
        length, so_far.shift, [=](int64_t i) __attribute__((always_inline)) { return widen(block[i]); });
    so_far.total *= exponential(so_far.shift - maximum);
    so_far.shift = maximum;
    so_far.total += sum<Number>(
        length, [=](int64_t i) __attribute__((always_inline)) { return exponential(widen(block[i]) - maximum); });
  }
  return so_far;
}

// Returns the loss, -log softmax[target] without smoothing; with want_gradient the row becomes
// scale * (softmax - (1 - smoothing) * onehot - smoothing / width).
template <class Element>
LMNET_VECTORISED Wide<Element> cross_entropy_row(Element* x, int64_t width, int64_t target, Wide<Element> scale,
                                                 Wide<Element> smoothing, bool want_gradient) {
  using Number = Wide<Element>;
  const auto [shift, total] = exponential_sum(x, width);
  const Number at_target = widen(x[target]) - shift, log_total = std::log(total);
  Number loss = log_total - at_target;
  if (smoothing > 0) {
    const Number mean = sum<Number>(
                            width, [=](int64_t i) __attribute__((always_inline)) { return widen(x[i]); }) /
                            static_cast<Number>(width) -
                        shift;
    loss = (1 - smoothing) * loss + smoothing * (log_total - mean);
  }
  if (want_gradient) {
    const Number factor = scale / total, uniform = scale * smoothing / static_cast<Number>(width);
#pragma GCC ivdep
    for (int64_t i = 0; i < width; ++i) {
      x[i] = narrow<Element>(exponential(widen(x[i]) - shift) * factor - uniform);
    }
    x[target] = narrow<Element>(exponential(at_target) * factor - uniform - scale * (1 - smoothing));
  }
  return loss;
}

}  // namespace

void cross_entropy_inplace(at::Tensor& logits, const at::Tensor& targets, const at::Tensor& mask, double scale,
                           at::Tensor& losses, bool want_gradient, double smoothing) {
  TORCH_CHECK(logits.dim() == 2 && logits.is_contiguous(), "cross_entropy_inplace: logits ", logits.sizes(),
              " are not a contiguous [M, V].");
  const int64_t rows = logits.size(0), width = logits.size(1);
  const auto check = [&](const at::Tensor& tensor, at::ScalarType type, const char* name) {
    TORCH_CHECK(tensor.sizes() == at::IntArrayRef{rows} && tensor.scalar_type() == type && tensor.is_contiguous() &&
                    tensor.device() == logits.device(),
                "cross_entropy_inplace: ", name, " ", tensor.sizes(), " of ", tensor.scalar_type(),
                " must be contiguous [M] of ", type, " on ", logits.device(), ", for logits ", logits.sizes(), ".");
  };
  check(targets, at::kLong, "targets");
  check(mask, at::kBool, "mask");
  check(losses, wide_type(logits), "losses");
  if (!logits.is_cpu())
    return composite::cross_entropy_inplace(logits, targets, mask, scale, losses, want_gradient, smoothing);
  with_element_of(logits, "cross_entropy_inplace", [&]<class Element>(Element) {
    at::parallel_for(0, rows, grain(width), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        Element* x = mutable_data<Element>(logits) + row * width;
        auto& loss = mutable_data<Wide<Element>>(losses)[row];
        if (!data<bool>(mask)[row]) {
          loss = 0;
          if (want_gradient) {
            std::fill_n(x, width, Element{});
          }
          continue;
        }
        const int64_t target = data<int64_t>(targets)[row];
        TORCH_CHECK_INDEX(target >= 0 && target < width, "cross_entropy_inplace: target ", target, " of row ", row,
                          " is outside the vocabulary of ", width, ".");
        loss = cross_entropy_row(x, width, target, static_cast<Wide<Element>>(scale),
                                 static_cast<Wide<Element>>(smoothing), want_gradient);
      }
    });
  });
}

}  // namespace lmnet
