#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include "model/kernels/composite.h"
#include "model/kernels/kernels.h"
#include "model/kernels/lanes.h"

namespace lmnet {
namespace {

using namespace kernels;

// Vectors of a dot product that are summed side by side.
constexpr int strands = 2;

// The products of some rows of x with some rows of the weight. Every single one is summed in the same order whatever
// the number of rows at once.
template <class Element, int Rows, int Columns>
LMNET_INLINE void tile(const Wide<Element>* x, const Element* weight, const Element* bias, Element* y, int64_t width,
                       int64_t row_length) {
  using Number = Wide<Element>;
  constexpr int64_t step = lanes<Number>;
  Lanes<Number> total[Rows][Columns][strands] = {};
  const auto add = [&](int strand, const auto& read) __attribute__((always_inline)) {
    Lanes<Number> w[Columns];
    for (int c = 0; c < Columns; ++c) {
      read(weight + c * width, w[c]);
    }
    for (int r = 0; r < Rows; ++r) {
      Lanes<Number> v;
      read(x + r * width, v);
      for (int c = 0; c < Columns; ++c) {
        total[r][c][strand] += v * w[c];
      }
    }
  };
  int64_t k = 0;
  for (; k + strands * step <= width; k += strands * step) {
    for (int s = 0; s < strands; ++s) {
      add(
          s, [&](const auto* from, auto& to) __attribute__((always_inline)) { load(from + k + s * step, to); });
    }
  }
  for (; k < width; k += step) {
    const int64_t rest = std::min(step, width - k);
    add(
        0, [&](const auto* from, auto& to) __attribute__((always_inline)) { load_some(from + k, rest, to); });
  }
  for (int r = 0; r < Rows; ++r) {
    for (int c = 0; c < Columns; ++c) {
      const Lanes<Number> both = total[r][c][0] + total[r][c][1];
      y[r * row_length + c] = narrow<Element>(sum_lanes<Number>(both) + (bias ? widen(bias[c]) : Number{0}));
    }
  }
}

// `Columns` rows of the weight with all rows of x.
template <class Element, int Columns>
LMNET_INLINE void columns(const Wide<Element>* x, const Element* weight, const Element* bias, Element* y, int64_t rows,
                          int64_t width, int64_t row_length) {
  int64_t row = 0;
  for (; row + 4 <= rows; row += 4) {
    tile<Element, 4, Columns>(x + row * width, weight, bias, y + row * row_length, width, row_length);
  }
  for (; row < rows; ++row) {
    tile<Element, 1, Columns>(x + row * width, weight, bias, y + row * row_length, width, row_length);
  }
}

// Rows [begin, end) of one module's weight.
template <class Element>
LMNET_VECTORISED void module_rows(const Wide<Element>* x, const Element* weight, const Element* bias, Element* y,
                                  int64_t rows, int64_t width, int64_t row_length, int64_t begin, int64_t end) {
  const auto run = [&]<int Columns>(std::integral_constant<int, Columns>, int64_t n) __attribute__((always_inline)) {
    columns<Element, Columns>(x, weight + n * width, bias ? bias + n : nullptr, y + n, rows, width, row_length);
  };
  int64_t n = begin;
  for (; n + 4 <= end; n += 4) {
    run(std::integral_constant<int, 4>{}, n);
  }
  for (; n < end; ++n) {
    run(std::integral_constant<int, 1>{}, n);
  }
}

}  // namespace

at::Tensor linear_few_rows(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  TORCH_CHECK(!at::GradMode::is_enabled(), "linear_few_rows: has no derivative.");
  const int64_t modules = weight.size(0), outputs = weight.size(1), width = weight.size(2), rows = x.size(1);
  TORCH_CHECK(x.dim() == 3 && x.size(0) == modules && x.size(2) == width && weight.is_contiguous() &&
                  x.scalar_type() == weight.scalar_type(),
              "linear_few_rows: x is ", x.sizes(), ", the weight ", weight.sizes());
  TORCH_CHECK(!bias.defined() ||
                  (bias.scalar_type() == weight.scalar_type() && bias.sizes() == at::IntArrayRef({modules, outputs})),
              "linear_few_rows: the bias is ", bias.sizes(), ", the weight ", weight.sizes());
  if (!x.is_cpu()) return composite::linear_few_rows(x, weight, bias);
  const at::Tensor wide = x.to(wide_type(x)).contiguous();
  const at::Tensor offset = bias.defined() ? bias.contiguous() : bias;
  const at::Tensor y = at::empty({modules, rows, outputs}, x.options());
  with_element_of(weight, "linear_few_rows", [&]<class Element>(Element) {
    const auto* from = data<Wide<Element>>(wide);
    const auto* weights = data<Element>(weight);
    const auto* biases = offset.defined() ? data<Element>(offset) : nullptr;
    auto* to = mutable_data<Element>(y);
    at::parallel_for(0, modules * outputs, grain(width * std::max<int64_t>(1, rows)), [&](int64_t begin, int64_t end) {
      for (int64_t module = begin / outputs; module * outputs < end; ++module) {
        const int64_t first = module * outputs;
        module_rows(from + module * rows * width, weights + first * width, biases ? biases + first : nullptr,
                    to + module * rows * outputs, rows, width, outputs, std::max(begin, first) - first,
                    std::min(end - first, outputs));
      }
    });
  });
  return y;
}

}  // namespace lmnet
