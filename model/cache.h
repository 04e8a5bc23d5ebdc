#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

namespace lmnet {

/// Keys and values of one block at one place, [items, G, capacity, K]: position p of a row stands in slot p. Allocated
/// at first use.
struct KeyValues {
  at::Tensor keys, values;
};

/// What a generation keeps of the positions behind it: keys and values by (place in the graph, block). Shared vertices
/// are one module but many places. Rows may have unlike lengths: a query at position p sees the slots 0…p only, so what
/// right padding left in later slots is never read, and is overwritten as the row grows.
class Cache {
 public:
  /// For `rows` rows of at most `capacity` tokens (a prefix not counted).
  Cache(int64_t rows, int64_t capacity) : rows_(rows), capacity_(capacity) {}

  int64_t rows() const { return rows_; }
  int64_t capacity() const { return capacity_; }

  /// The rows of all parts, whose capacities are equal, in order.
  static Cache together(std::vector<Cache> parts);

  /// Row i becomes a copy of what was row rows[i] (beams reorder, samples share a prompt); their number may change.
  void select(const std::vector<int64_t>& rows);

  /// Bytes held.
  int64_t bytes() const;

  /// The blocks of the call that begins with this vertex, or this edge (Walk's business).
  std::vector<KeyValues>& vertex(int first) { return places_[{0, first}]; }
  std::vector<KeyValues>& edge(int first) { return places_[{1, first}]; }

 private:
  int64_t rows_, capacity_;
  std::map<std::pair<int, int>, std::vector<KeyValues>> places_;
};

}  // namespace lmnet
