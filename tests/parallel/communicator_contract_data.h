#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace lmnet::testing {

constexpr at::ScalarType all_types[] = {at::kDouble, at::kFloat, at::kBFloat16, at::kLong};

/// Throws std::runtime_error that says `what`.
void require(bool condition, const std::string& what);

/// The tensor that `rank` brings: the same in every process.
at::Tensor tensor_of(int rank, int64_t count, at::ScalarType type, int64_t seed = 0);
std::vector<at::Tensor> tensors_of(const std::vector<int>& ranks, int64_t count, at::ScalarType type, int64_t seed = 0);
std::vector<int> everyone(const Communicator& group);

/// In rank order, bf16 in fp32 and rounded once.
at::Tensor plain_sum(const std::vector<at::Tensor>& terms);

/// An exchange that was started, and what it must give.
struct Exchange {
  at::Tensor receive, wanted;
  Work work;

  void check(const std::string& what) const;
};

/// Uneven counts, some 0, in steps of `scale`. The caller drops what is sent at once.
Exchange start_exchange(Communicator& group, int64_t scale, at::ScalarType type, int64_t seed, at::Device device);

}  // namespace lmnet::testing
