#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>

namespace lmnet {

// What every backend refuses, in the same words: what is wrong, empty where nothing is.

/// Of a tensor that a collective is to take on the host or on `accelerator` (`cuda`, `cuda:1`); `flat`: 1-D only.
std::string fault_of_tensor(const at::Tensor& tensor, bool flat, at::Device accelerator);

/// Of an all-to-all of 1-D tensors over `size` ranks, of which this is `rank`.
std::string fault_of_all_to_all(const at::Tensor& send, std::span<const int64_t> send_counts, const at::Tensor& receive,
                                std::span<const int64_t> receive_counts, int rank, int size);

/// Of a broadcast's root.
std::string fault_of_root(int root, int size);

}  // namespace lmnet
