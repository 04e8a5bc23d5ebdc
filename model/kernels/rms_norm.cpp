#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include "model/kernels/composite.h"
#include "model/kernels/kernels.h"
#include "model/kernels/vector.h"

namespace lmnet {
namespace {

using namespace kernels;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

template <class Element>
LMNET_INLINE Wide<Element> inverse_rms(const Element* x, int64_t width, double eps) {
  using Number = Wide<Element>;
  const auto squares = sum<Number>(
      width, [x](int64_t i) __attribute__((always_inline)) { return widen(x[i]) * widen(x[i]); });
  return 1 / std::sqrt(squares / static_cast<Number>(width) + static_cast<Number>(eps));
}

// Rows [begin, end) of all modules' rows, numbered through; `rows` of them belong to each module.
template <class Element>
LMNET_VECTORISED void forward_rows(const Element* x, const Wide<Element>* weights, Element* y, int64_t rows,
                                   int64_t width, double eps, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const Element* in = x + row * width;
    const Wide<Element>* weight = weights + row / rows * width;
    Element* out = y + row * width;
    const auto factor = inverse_rms(in, width, eps);
#pragma GCC ivdep
    for (int64_t i = 0; i < width; ++i) {
      out[i] = narrow<Element>(widen(in[i]) * factor * weight[i]);
    }
  }
}

// Rows of one module. Adds to d_weight [width] unless it is null.
template <class Element>
LMNET_VECTORISED void backward_rows(const Element* x, const Wide<Element>* weight, const Element* dy, Element* dx,
                                    Wide<Element>* d_weight, int64_t rows, int64_t width, double eps) {
  using Number = Wide<Element>;
  for (int64_t row = 0; row < rows; ++row, x += width, dy += width, dx += width) {
    const Number factor = inverse_rms(x, width, eps);
    const auto product = sum<Number>(
        width, [=](int64_t i) __attribute__((always_inline)) { return widen(dy[i]) * weight[i] * widen(x[i]); });
    const Number along_x = product / static_cast<Number>(width) * factor * factor;
#pragma GCC ivdep
    for (int64_t i = 0; i < width; ++i) {
      dx[i] = narrow<Element>(factor * (widen(dy[i]) * weight[i] - widen(x[i]) * along_x));
    }
    if (d_weight) {
#pragma GCC ivdep
      for (int64_t i = 0; i < width; ++i) {
        d_weight[i] += widen(dy[i]) * (widen(x[i]) * factor);
      }
    }
  }
}

template <class Number>
LMNET_VECTORISED void add_rows(const Number* parts, Number* total, int64_t rows, int64_t width) {
  for (int64_t row = 0; row < rows; ++row) {
#pragma GCC ivdep
    for (int64_t i = 0; i < width; ++i) {
      total[i] += parts[row * width + i];
    }
  }
}

// The rows of a module are cut into parts, each with its own sum for the weight's gradient. The cut depends on the
// shape only, so that the sums are the same with any number of threads.
int64_t rows_of_part(int64_t rows) {
  constexpr int64_t smallest = 32;
  constexpr int64_t most_parts = 64;
  return std::max(smallest, (rows + most_parts - 1) / most_parts);
}

// Returns the sums for the weight's gradient, [E, parts, D], or an undefined tensor.
at::Tensor backward_parts(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& dy, const at::Tensor& dx,
                          bool want_d_weight, double eps) {
  const int64_t rows = x.size(1);
  const int64_t width = x.size(2);
  const int64_t part_rows = rows_of_part(rows);
  const int64_t parts = (rows + part_rows - 1) / part_rows;
  const auto sums = want_d_weight ? at::zeros({x.size(0), parts, width}, weight.options()) : at::Tensor();
  with_element_of(x, "rms_norm", [&]<class Element>(Element) {
    using Number = Wide<Element>;
    auto* all_sums = want_d_weight ? mutable_data<Number>(sums) : nullptr;
    at::parallel_for(0, x.size(0) * parts, grain(part_rows * width), [&](int64_t begin, int64_t end) {
      for (int64_t part = begin; part < end; ++part) {
        const int64_t module = part / parts;
        const int64_t first = part % parts * part_rows;
        const int64_t offset = (module * rows + first) * width;
        backward_rows(data<Element>(x) + offset, data<Number>(weight) + module * width, data<Element>(dy) + offset,
                      mutable_data<Element>(dx) + offset, all_sums ? all_sums + part * width : nullptr,
                      std::min(part_rows, rows - first), width, eps);
      }
    });
  });
  return sums;
}

at::Tensor add_parts(const at::Tensor& sums) {
  const at::Tensor total = at::zeros({sums.size(0), sums.size(2)}, sums.options());
  const int64_t module_size = sums.size(1) * sums.size(2);
  with_element_of(sums, "rms_norm", [&]<class Element>(Element) {
    if constexpr (!std::is_same_v<Element, Bf16>) {
      at::parallel_for(0, sums.size(0), grain(module_size), [&](int64_t begin, int64_t end) {
        for (int64_t module = begin; module < end; ++module) {
          add_rows(data<Element>(sums) + module * module_size, mutable_data<Element>(total) + module * sums.size(2),
                   sums.size(1), sums.size(2));
        }
      });
    }
  });
  return total;
}

struct RmsNorm : torch::autograd::Function<RmsNorm> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input, const at::Tensor& weight, double eps) {
    const at::Tensor x = input.contiguous();
    ctx->save_for_backward({x, weight});
    ctx->saved_data["eps"] = eps;
    const at::Tensor wide_weight = weight.to(wide_type(x)).contiguous();
    const at::Tensor y = at::empty_like(x);
    with_element_of(x, "rms_norm", [&]<class Element>(Element) {
      at::parallel_for(0, x.size(0) * x.size(1), grain(x.size(2)), [&](int64_t begin, int64_t end) {
        forward_rows(data<Element>(x), data<Wide<Element>>(wide_weight), mutable_data<Element>(y), x.size(1), x.size(2),
                     eps, begin, end);
      });
    });
    return y;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    check_first_order("rms_norm");
    const auto saved = ctx->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor& weight = saved[1];
    const at::Tensor dx = at::empty_like(x);
    const at::Tensor sums = backward_parts(x, weight.to(wide_type(x)).contiguous(), gradients[0].contiguous(), dx,
                                           ctx->needs_input_grad(1), ctx->saved_data["eps"].toDouble());
    return {dx, sums.defined() ? add_parts(sums).to(weight.scalar_type()) : at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  TORCH_CHECK(x.dim() == 3 && weight.dim() == 2 && weight.size(0) == x.size(0) && weight.size(1) == x.size(2),
              "rms_norm: x ", x.sizes(), " and weight ", weight.sizes(), " are not [E, M, D] and [E, D].");
  return x.is_cpu() ? RmsNorm::apply(x, weight, eps) : composite::rms_norm(x, weight, eps);
}

}  // namespace lmnet
