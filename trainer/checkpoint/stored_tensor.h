#pragma once
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>
#include <vector>

namespace lmnet {

/// A tensor as a file holds it, whole or in part.
struct StoredTensor {
  std::string name;  // canonical (`edges.1.0-3.fc.bias`); of the optimiser's state `NAME@exp_avg` and the like
  at::ScalarType dtype = at::ScalarType::Undefined;
  std::vector<int64_t> shape = {};  // of the whole tensor
  int64_t offset = 0, length = 0;   // the elements that are here, in row-major order
  uint32_t crc32c = 0;              // of their bytes

  /// Of the whole tensor.
  int64_t elements() const {
    int64_t count = 1;
    for (const int64_t size : shape) count *= size;
    return count;
  }
  bool whole() const { return length == elements(); }
  uint64_t bytes() const { return static_cast<uint64_t>(length) * c10::elementSize(dtype); }
};

}  // namespace lmnet
