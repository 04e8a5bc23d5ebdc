#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include "model/kernels/composite.h"
#include "model/kernels/kernels.h"
#include "model/kernels/lanes.h"

namespace lmnet {
namespace {

using namespace kernels;

// The query heads that share one head of keys and values, [slots, width] each. `scores`: room for heads * slots;
// `queries` for heads * (width filled up to whole vectors).
template <class Element>
struct HeadGroup {
  const Element* query;  // of head h at h * query_stride
  const Element *keys, *values;
  Element* output;  // of head h at h * width
  int64_t query_stride, heads, width, slots;
  Wide<Element> scale;
  Wide<Element>*scores, *queries;
};

// Every score and every number of the output is added up in the same order whatever is computed beside it.

// Scores of `Slots` slots from `slot` on, for `Heads` heads from `head` on; 4 together.
template <int Slots, int Heads, class Element>
LMNET_INLINE void score(const HeadGroup<Element>& group, int64_t slot, int64_t head, int64_t room) {
  using Number = Wide<Element>;
  constexpr int64_t step = lanes<Number>;
  Lanes<Number> total[4] = {}, key, query;
  for (int64_t i = 0; i < group.width; i += step) {
    for (int s = 0; s < Slots; ++s) {
      const Element* from = group.keys + (slot + s) * group.width + i;
      if (i + step <= group.width) {
        load(from, key);
      } else {
        load_some(from, group.width - i, key);
      }
      for (int h = 0; h < Heads; ++h) {
        load(group.queries + (head + h) * room + i, query);
        total[s * Heads + h] += query * key;
      }
    }
  }
  Number sums[4];
  sum_lanes<Number>(total, sums);
  for (int s = 0; s < Slots; ++s) {
    for (int h = 0; h < Heads; ++h) {
      group.scores[(head + h) * group.slots + slot + s] = sums[s * Heads + h];
    }
  }
}

// Columns [column, column + Vectors vectors) of the output of `Heads` heads from `head` on, of which `total` is the sum
// of the weights.
template <int Vectors, int Heads, class Element>
LMNET_INLINE void mix(const HeadGroup<Element>& group, int64_t column, int64_t head, const Wide<Element>* total) {
  using Number = Wide<Element>;
  constexpr int64_t step = lanes<Number>;
  const int64_t rest = group.width - column;
  Lanes<Number> mixed[Heads][Vectors] = {}, value;
  for (int64_t slot = 0; slot < group.slots; ++slot) {
    const Element* from = group.values + slot * group.width + column;
    for (int v = 0; v < Vectors; ++v) {
      if (Vectors > 1 || rest >= step) {
        load(from + v * step, value);
      } else {
        load_some(from, rest, value);
      }
      for (int h = 0; h < Heads; ++h) {
        mixed[h][v] += value * group.scores[(head + h) * group.slots + slot];
      }
    }
  }
  for (int h = 0; h < Heads; ++h) {
    Number numbers[Vectors * step];
    std::memcpy(numbers, mixed[h], sizeof numbers);
    for (int64_t i = 0; i < std::min(rest, Vectors * step); ++i) {
      group.output[(head + h) * group.width + column + i] = narrow<Element>(numbers[i] / total[h]);
    }
  }
}

template <int Heads, class Element>
LMNET_INLINE void attend_heads(const HeadGroup<Element>& group, int64_t head, int64_t room) {
  using Number = Wide<Element>;
  int64_t slot = 0;
  for (; slot + 4 / Heads <= group.slots; slot += 4 / Heads) {
    score<4 / Heads, Heads>(group, slot, head, room);
  }
  for (; slot < group.slots; ++slot) {
    score<1, Heads>(group, slot, head, room);
  }
  Number total[Heads];
  for (int h = 0; h < Heads; ++h) {
    Number* weight = group.scores + (head + h) * group.slots;
    const Number most = largest<Number>(
        group.slots,
        -std::numeric_limits<Number>::infinity(), [=](int64_t i) __attribute__((always_inline)) { return weight[i]; });
#pragma GCC ivdep
    for (int64_t i = 0; i < group.slots; ++i) {
      weight[i] = exponential(weight[i] - most);
    }
    total[h] = sum<Number>(
        group.slots, [=](int64_t i) __attribute__((always_inline)) { return weight[i]; });
  }
  constexpr int64_t several = 4 * lanes<Number>;
  int64_t column = 0;
  for (; column + several <= group.width; column += several) {
    mix<4, Heads>(group, column, head, total);
  }
  for (; column < group.width; column += lanes<Number>) {
    mix<1, Heads>(group, column, head, total);
  }
}

template <class Element>
LMNET_VECTORISED void attend_group(const HeadGroup<Element>& group) {
  using Number = Wide<Element>;
  constexpr int64_t step = lanes<Number>;
  const int64_t room = (group.width + step - 1) / step * step;
  for (int64_t h = 0; h < group.heads; ++h) {
    for (int64_t i = 0; i < room; ++i) {
      group.queries[h * room + i] =
          i < group.width ? widen(group.query[h * group.query_stride + i]) * group.scale : Number{0};
    }
  }
  int64_t head = 0;
  for (; head + 2 <= group.heads; head += 2) {
    attend_heads<2>(group, head, room);
  }
  for (; head < group.heads; ++head) {
    attend_heads<1>(group, head, room);
  }
}

}  // namespace

at::Tensor attend_step(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, at::Tensor& keys,
                       at::Tensor& values, at::IntArrayRef start, double scale) {
  const int64_t items = q.size(0), heads = q.size(1), width = q.size(3), groups = k.size(1), room = keys.size(2);
  const auto rows = static_cast<int64_t>(start.size());
  TORCH_CHECK(!at::GradMode::is_enabled(), "attend_step: has no derivative.");
  TORCH_CHECK(rows > 0 && q.size(2) == 1 && heads % groups == 0 && items % rows == 0 && q.stride(3) == 1 &&
                  k.stride(3) == 1 && v.stride(3) == 1 && keys.is_contiguous() && values.is_contiguous() &&
                  k.sizes() == at::IntArrayRef({items, groups, 1, width}) && v.sizes() == k.sizes() &&
                  keys.sizes() == at::IntArrayRef({items, groups, room, width}) && values.sizes() == keys.sizes(),
              "attend_step: q is ", q.sizes(), ", k ", k.sizes(), ", v ", v.sizes(), ", keys ", keys.sizes(),
              ", values ", values.sizes());
  for (const at::Tensor& other : {k, v, keys, values})
    TORCH_CHECK(other.scalar_type() == q.scalar_type(), "attend_step: ", other.scalar_type(), " beside ",
                q.scalar_type());
  TORCH_CHECK(std::ranges::min(start) >= 0 && std::ranges::max(start) < room, "attend_step: no slot ", start, " of ",
              room);
  if (!q.is_cpu()) return composite::attend_step(q, k, v, keys, values, start, scale);
  const int64_t shared = heads / groups, longest = *std::ranges::max_element(start) + 1;
  const at::Tensor output = at::empty({items, 1, heads * width}, q.options());
  with_element_of(q, "attend_step", [&]<class Element>(Element) {
    at::parallel_for(0, items * groups, grain(shared * longest * width), [&](int64_t begin, int64_t end) {
      std::vector<Wide<Element>> scores(shared * longest), queries(shared * (width + lanes<Wide<Element>>));
      for (int64_t i = begin; i < end; ++i) {
        const int64_t n = i / groups, g = i % groups, last = start[n % rows];
        Element* key = mutable_data<Element>(keys) + i * room * width;
        Element* value = mutable_data<Element>(values) + i * room * width;
        std::copy_n(data<Element>(k) + n * k.stride(0) + g * k.stride(1), width, key + last * width);
        std::copy_n(data<Element>(v) + n * v.stride(0) + g * v.stride(1), width, value + last * width);
        attend_group(HeadGroup<Element>{data<Element>(q) + n * q.stride(0) + g * shared * q.stride(1), key, value,
                                        mutable_data<Element>(output) + (n * heads + g * shared) * width, q.stride(1),
                                        shared, width, last + 1, static_cast<Wide<Element>>(scale), scores.data(),
                                        queries.data()});
      }
    });
  });
  return output;
}

}  // namespace lmnet
