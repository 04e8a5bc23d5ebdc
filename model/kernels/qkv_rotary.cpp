#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include <array>

#include "model/kernels/composite.h"
#include "model/kernels/kernels.h"
#include "model/kernels/vector.h"

namespace lmnet {
namespace {

using namespace kernels;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// One position of all heads of one kind, head after head with a stride.
template <class Element>
struct Heads {
  Element* first;
  int64_t count;
  int64_t stride;
};

template <class Element>
LMNET_VECTORISED void turn_heads(Heads<const Element> from, Heads<Element> to, const Wide<Element>* cos,
                                 const Wide<Element>* sin, int64_t half) {
  for (int64_t head = 0; head < from.count; ++head) {
    const Element* x = from.first + head * from.stride;
    Element* y = to.first + head * to.stride;
#pragma GCC ivdep
    for (int64_t i = 0; i < half; ++i) {
      const auto x1 = widen(x[i]);
      const auto x2 = widen(x[i + half]);
      y[i] = narrow<Element>(x1 * cos[i] - x2 * sin[i]);
      y[i + half] = narrow<Element>(x2 * cos[i + half] + x1 * sin[i + half]);
    }
  }
}

// The transpose of turn_heads, exact also for tables whose halves differ.
template <class Element>
LMNET_VECTORISED void turn_heads_back(Heads<const Element> from, Heads<Element> to, const Wide<Element>* cos,
                                      const Wide<Element>* sin, int64_t half) {
  for (int64_t head = 0; head < from.count; ++head) {
    const Element* dy = from.first + head * from.stride;
    Element* dx = to.first + head * to.stride;
#pragma GCC ivdep
    for (int64_t i = 0; i < half; ++i) {
      const auto dy1 = widen(dy[i]);
      const auto dy2 = widen(dy[i + half]);
      dx[i] = narrow<Element>(dy1 * cos[i] + dy2 * sin[i + half]);
      dx[i + half] = narrow<Element>(dy2 * cos[i + half] - dy1 * sin[i]);
    }
  }
}

template <class Element>
void copy_heads(Heads<const Element> from, Heads<Element> to, int64_t width) {
  for (int64_t head = 0; head < from.count; ++head) {
    std::copy_n(from.first + head * from.stride, width, to.first + head * to.stride);
  }
}

// Where the heads of position (n, t) are in a tensor [N, heads, T, K] of any strides with contiguous K.
template <class Element>
Heads<Element> heads_at(Element* start, const at::Tensor& tensor, int64_t n, int64_t t) {
  return {start + n * tensor.stride(0) + t * tensor.stride(2), tensor.size(1), tensor.stride(1)};
}

// The tables' row of position (n, t) starts at n * sequence_stride + t * K.
int64_t sequence_stride(const at::Tensor& table) {
  return table.dim() == 3 ? table.size(1) * table.size(2) : 0;
}

void split_and_turn(const at::Tensor& qkv, const at::Tensor& cos, const at::Tensor& sin,
                    const std::array<at::Tensor, 3>& parts) {
  const int64_t T = qkv.size(1), width = qkv.size(2), K = cos.size(-1);
  with_element_of(qkv, "qkv_rotary", [&]<class Element>(Element) {
    at::parallel_for(0, qkv.size(0) * T, grain(width), [&](int64_t begin, int64_t end) {
      for (int64_t position = begin; position < end; ++position) {
        const int64_t n = position / T, t = position % T, angle = n * sequence_stride(cos) + t * K;
        const Element* row = data<Element>(qkv) + position * width;
        for (const at::Tensor& part : parts) {
          const auto to = heads_at(mutable_data<Element>(part), part, n, t);
          const Heads<const Element> from{row, to.count, K};
          row += to.count * K;
          if (&part == &parts[2]) {
            copy_heads(from, to, K);
          } else {
            turn_heads(from, to, data<Wide<Element>>(cos) + angle, data<Wide<Element>>(sin) + angle, K / 2);
          }
        }
      }
    });
  });
}

// An undefined gradient counts as zero.
void turn_back_and_join(const std::array<at::Tensor, 3>& gradients, const std::array<int64_t, 3>& head_counts,
                        const at::Tensor& cos, const at::Tensor& sin, const at::Tensor& d_qkv) {
  const int64_t T = d_qkv.size(1), width = d_qkv.size(2), K = cos.size(-1);
  with_element_of(d_qkv, "qkv_rotary", [&]<class Element>(Element) {
    at::parallel_for(0, d_qkv.size(0) * T, grain(width), [&](int64_t begin, int64_t end) {
      for (int64_t position = begin; position < end; ++position) {
        const int64_t n = position / T, t = position % T, angle = n * sequence_stride(cos) + t * K;
        Element* row = mutable_data<Element>(d_qkv) + position * width;
        for (size_t part = 0; part < gradients.size(); ++part) {
          const Heads<Element> to{row, head_counts[part], K};
          row += head_counts[part] * K;
          if (!gradients[part].defined()) {
            std::fill(to.first, row, Element{});
            continue;
          }
          const auto from = heads_at(data<Element>(gradients[part]), gradients[part], n, t);
          if (part == 2) {
            copy_heads(from, to, K);
          } else {
            turn_heads_back(from, to, data<Wide<Element>>(cos) + angle, data<Wide<Element>>(sin) + angle, K / 2);
          }
        }
      }
    });
  });
}

struct QkvRotary : torch::autograd::Function<QkvRotary> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& input, const at::Tensor& cos,
                               const at::Tensor& sin, int64_t H, int64_t G) {
    ctx->save_for_backward({cos, sin});
    ctx->saved_data["sizes"] = input.sizes();
    ctx->saved_data["heads"] = std::vector<int64_t>{H, G, G};
    ctx->set_materialize_grads(false);
    const at::Tensor qkv = input.contiguous();
    const auto heads = [&](int64_t count) {
      return at::empty({qkv.size(0), count, qkv.size(1), cos.size(-1)}, qkv.options());
    };
    std::array<at::Tensor, 3> parts{heads(H), heads(G), heads(G)};
    split_and_turn(qkv, cos, sin, parts);
    return {parts.begin(), parts.end()};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    check_first_order("qkv_rotary");
    const auto saved = ctx->get_saved_variables();
    std::array<at::Tensor, 3> rows;
    at::TensorOptions options;
    for (size_t part = 0; part < rows.size(); ++part) {
      const at::Tensor& gradient = gradients[part];
      if (gradient.defined()) {
        rows[part] = gradient.stride(-1) == 1 ? gradient : gradient.contiguous();
        options = gradient.options();
      }
    }
    const auto counts = ctx->saved_data["heads"].toIntVector();
    const at::Tensor d_qkv = at::empty(ctx->saved_data["sizes"].toIntVector(), options);
    turn_back_and_join(rows, {counts[0], counts[1], counts[2]}, saved[0], saved[1], d_qkv);
    return {d_qkv, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

std::tuple<at::Tensor, at::Tensor, at::Tensor> qkv_rotary(const at::Tensor& qkv, const at::Tensor& cos,
                                                          const at::Tensor& sin, int64_t H, int64_t G, int64_t K) {
  TORCH_CHECK(qkv.dim() == 3 && K % 2 == 0 && qkv.size(2) == (H + 2 * G) * K, "qkv_rotary: qkv ", qkv.sizes(),
              " is not [N, T, (H + 2G) * K] with H = ", H, ", G = ", G, " and an even K = ", K, ".");
  for (const at::Tensor& table : {cos, sin}) {
    const bool fits = table.dim() == 2   ? table.sizes() == at::IntArrayRef{qkv.size(1), K}
                      : table.dim() == 3 ? table.sizes() == at::IntArrayRef{qkv.size(0), qkv.size(1), K}
                                         : false;
    TORCH_CHECK(
        fits && table.sizes() == cos.sizes() && table.scalar_type() == wide_type(qkv) && table.device() == qkv.device(),
        "qkv_rotary: the table ", table.sizes(), " of ", table.scalar_type(), " does not fit qkv ", qkv.sizes(), " of ",
        qkv.scalar_type(), ": cos and sin are [T, K] or [N, T, K] in ", wide_type(qkv), ".");
  }
  if (!qkv.is_cpu()) return composite::qkv_rotary(qkv, cos, sin, H, G, K);
  const auto parts = QkvRotary::apply(qkv, cos.contiguous(), sin.contiguous(), H, G);
  return {parts[0], parts[1], parts[2]};
}

}  // namespace lmnet
