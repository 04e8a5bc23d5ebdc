#include <ATen/Parallel.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <functional>

#include "model/kernels/kernels.h"
#include "model/kernels/vector.h"

namespace lmnet {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using Documents = std::vector<std::vector<int64_t>>;

/// One document in one item.
struct Segment {
  int64_t item, begin, length;

  /// Its part of a tensor [N, heads, T, …]: [1, heads, length, …].
  at::Tensor of(const at::Tensor& tensor) const { return tensor.narrow(0, item, 1).narrow(2, begin, length); }
};

std::vector<Segment> segments_of(const Documents& documents, int64_t length) {
  std::vector<Segment> segments;
  for (size_t item = 0; item < documents.size(); ++item)
    for (size_t i = 0; i < documents[item].size(); ++i) {
      const int64_t begin = documents[item][i];
      const int64_t end = i + 1 < documents[item].size() ? documents[item][i + 1] : length;
      segments.push_back({static_cast<int64_t>(item), begin, end - begin});
    }
  return segments;
}

/// Side by side, a thread each, the longest first; before those, with all threads, segments so long that the thread of
/// one would be the last to end.
void for_each(std::vector<Segment> segments, const std::function<void(const Segment&)>& run) {
  const int64_t threads = at::get_num_threads();
  const auto work = [](const Segment& segment) { return segment.length * segment.length; };
  std::ranges::sort(segments, std::greater(), &Segment::length);
  int64_t left = 0;
  for (const Segment& segment : segments) left += work(segment);
  auto next = segments.begin();
  for (; next != segments.end() && work(*next) * threads > left; ++next) {
    run(*next);
    left -= work(*next);
  }
  const int64_t count = segments.end() - next, hands = std::min(count, threads);
  at::parallel_for(0, hands, 1, [&](int64_t begin, int64_t end) {
    const at::NoGradGuard no_grad;  // each thread has a mode of its own
    for (int64_t hand = begin; hand < end; ++hand)
      for (int64_t i = hand; i < count; i += hands) run(next[i]);
  });
}

struct DocumentAttention : torch::autograd::Function<DocumentAttention> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const std::vector<Segment>& segments, double scale) {
    const int64_t n = q.size(0), heads = q.size(1), t = q.size(2), width = q.size(3);
    at::Tensor out = at::empty({n, t, heads, width}, q.options());
    at::Tensor log_sum = at::empty({n, heads, t}, q.options().dtype(kernels::wide_type(q)));
    const at::Tensor by_head = out.transpose(1, 2);
    for_each(segments, [&](const Segment& segment) {
      const auto [part, part_log_sum] = at::_scaled_dot_product_flash_attention_for_cpu(
          segment.of(q), segment.of(k), segment.of(v), 0.0, /*is_causal=*/true, std::nullopt, scale);
      segment.of(by_head).copy_(part);
      segment.of(log_sum).copy_(part_log_sum);
    });
    ctx->save_for_backward({q, k, v, out, log_sum});
    ctx->saved_data["segments"] = flat(segments);
    ctx->saved_data["scale"] = scale;
    return out.view({n, t, heads * width});
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    kernels::check_first_order("document_attention");
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &q = saved[0], &k = saved[1], &v = saved[2], &log_sum = saved[4];
    const at::Tensor out = saved[3].transpose(1, 2), gradient = gradients[0].reshape(saved[3].sizes()).transpose(1, 2);
    const at::Tensor dq = at::empty(q.sizes(), q.options()), dk = at::empty(k.sizes(), k.options()),
                     dv = at::empty(v.sizes(), v.options());
    const double scale = ctx->saved_data["scale"].toDouble();
    for_each(unflat(ctx->saved_data["segments"].toIntVector()), [&](const Segment& segment) {
      const auto [part_q, part_k, part_v] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
          segment.of(gradient), segment.of(q), segment.of(k), segment.of(v), segment.of(out), segment.of(log_sum), 0.0,
          /*is_causal=*/true, std::nullopt, scale);
      segment.of(dq).copy_(part_q);
      segment.of(dk).copy_(part_k);
      segment.of(dv).copy_(part_v);
    });
    return {dq, dk, dv, at::Tensor(), at::Tensor()};
  }

 private:
  static std::vector<int64_t> flat(const std::vector<Segment>& segments) {
    std::vector<int64_t> numbers;
    for (const Segment& s : segments) numbers.insert(numbers.end(), {s.item, s.begin, s.length});
    return numbers;
  }
  static std::vector<Segment> unflat(const std::vector<int64_t>& numbers) {
    std::vector<Segment> segments;
    for (size_t i = 0; i < numbers.size(); i += 3) segments.push_back({numbers[i], numbers[i + 1], numbers[i + 2]});
    return segments;
  }
};

}  // namespace

at::Tensor document_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Documents& documents,
                              double scale) {
  const int64_t length = q.size(2);
  TORCH_CHECK(std::ssize(documents) == q.size(0), "document_attention: documents of ", documents.size(),
              " items for q ", q.sizes(), ".");
  for (const std::vector<int64_t>& starts : documents)
    TORCH_CHECK(!starts.empty() && starts.front() == 0 && starts.back() < length &&
                    std::ranges::adjacent_find(starts, std::greater_equal()) == starts.end(),
                "document_attention: documents begin at 0 and at ascending positions below ", length, ".");
  return DocumentAttention::apply(q, k, v, segments_of(documents, length), scale);
}

}  // namespace lmnet
