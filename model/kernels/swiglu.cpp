#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
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
LMNET_VECTORISED void forward_rows(const Element* gate_up, Element* y, int64_t width, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const Element* gate = gate_up + row * 2 * width;
    const Element* up = gate + width;
    Element* out = y + row * width;
#pragma GCC ivdep
    for (int64_t i = 0; i < width; ++i) {
      const auto g = widen(gate[i]);
      out[i] = narrow<Element>(g / (1 + exponential(-g)) * widen(up[i]));
    }
  }
}

template <class Element>
LMNET_VECTORISED void backward_rows(const Element* gate_up, const Element* dy, Element* d_gate_up, int64_t width,
                                    int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const Element* gate = gate_up + row * 2 * width;
    const Element* up = gate + width;
    const Element* d_out = dy + row * width;
    Element* d_gate = d_gate_up + row * 2 * width;
    Element* d_up = d_gate + width;
#pragma GCC ivdep
    for (int64_t i = 0; i < width; ++i) {
      const auto g = widen(gate[i]);
      const auto d = widen(d_out[i]);
      const auto sigmoid = 1 / (1 + exponential(-g));
      d_gate[i] = narrow<Element>(d * widen(up[i]) * sigmoid * (1 + g * (1 - sigmoid)));
      d_up[i] = narrow<Element>(d * g * sigmoid);
    }
  }
}

struct Swiglu : torch::autograd::Function<Swiglu> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input) {
    const at::Tensor gate_up = input.contiguous();
    ctx->save_for_backward({gate_up});
    auto shape = gate_up.sizes().vec();
    const int64_t width = shape.back() /= 2;
    const at::Tensor y = at::empty(shape, gate_up.options());
    with_element_of(gate_up, "swiglu", [&]<class Element>(Element) {
      at::parallel_for(0, width ? y.numel() / width : 0, grain(width), [&](int64_t begin, int64_t end) {
        forward_rows(data<Element>(gate_up), mutable_data<Element>(y), width, begin, end);
      });
    });
    return y;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    check_first_order("swiglu");
    const at::Tensor gate_up = ctx->get_saved_variables()[0];
    const at::Tensor dy = gradients[0].contiguous();
    const at::Tensor d_gate_up = at::empty_like(gate_up);
    const int64_t width = dy.size(-1);
    with_element_of(gate_up, "swiglu", [&]<class Element>(Element) {
      at::parallel_for(0, width ? dy.numel() / width : 0, grain(width), [&](int64_t begin, int64_t end) {
        backward_rows(data<Element>(gate_up), data<Element>(dy), mutable_data<Element>(d_gate_up), width, begin, end);
      });
    });
    return {d_gate_up};
  }
};

}  // namespace

at::Tensor swiglu(const at::Tensor& gate_up) {
  TORCH_CHECK(gate_up.dim() > 0 && gate_up.size(-1) % 2 == 0, "swiglu: the last dimension of ", gate_up.sizes(),
              " does not halve into gate and up.");
  return gate_up.is_cpu() ? Swiglu::apply(gate_up) : composite::swiglu(gate_up);
}

}  // namespace lmnet
