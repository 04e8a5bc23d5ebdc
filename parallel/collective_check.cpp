#include "parallel/collective_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <string_view>

namespace lmnet {
namespace {

std::string fault_of_counts(std::span<const int64_t> counts, const at::Tensor& tensor, std::string_view what,
                            int size) {
  const bool negative = std::ranges::any_of(counts, [](int64_t count) { return count < 0; });
  const int64_t total = std::accumulate(counts.begin(), counts.end(), int64_t{0});
  if (std::ssize(counts) == size && !negative && total == tensor.numel()) return "";
  return fmt::format(
      "it got {} counts that add up to {} for {} elements to {}; it takes one count (0 or more) for each of {} ranks.",
      counts.size(), total, tensor.numel(), what, size);
}

}  // namespace

std::string fault_of_tensor(const at::Tensor& tensor, bool flat, at::Device accelerator) {
  const at::ScalarType type = tensor.scalar_type();
  const bool known = type == at::kDouble || type == at::kFloat || type == at::kBFloat16 || type == at::kLong;
  const bool there = tensor.is_cpu() || (accelerator.has_index() ? tensor.device() == accelerator
                                                                 : tensor.device().type() == accelerator.type());
  if (known && there && tensor.is_contiguous() && (!flat || tensor.dim() == 1)) return "";
  return fmt::format(
      "it takes contiguous {}tensors of fp64, fp32, bf16 or int64 on cpu or {}, not a {}-D {}one of {} on {}.",
      flat ? "1-D " : "", accelerator.str(), tensor.dim(), tensor.is_contiguous() ? "" : "strided ", at::toString(type),
      tensor.device().str());
}

std::string fault_of_all_to_all(const at::Tensor& send, std::span<const int64_t> send_counts, const at::Tensor& receive,
                                std::span<const int64_t> receive_counts, int rank, int size) {
  if (send.scalar_type() != receive.scalar_type() || send.device() != receive.device())
    return fmt::format("it sends {} on {}, but receives {} on {}.", at::toString(send.scalar_type()),
                       send.device().str(), at::toString(receive.scalar_type()), receive.device().str());
  if (std::string fault = fault_of_counts(send_counts, send, "send", size); !fault.empty()) return fault;
  if (std::string fault = fault_of_counts(receive_counts, receive, "receive", size); !fault.empty()) return fault;
  if (send_counts[rank] == receive_counts[rank]) return "";
  return fmt::format("it sends {} elements to itself, but expects {}.", send_counts[rank], receive_counts[rank]);
}

std::string fault_of_root(int root, int size) {
  return root >= 0 && root < size ? "" : fmt::format("there is no rank {} in its group of {}.", root, size);
}

}  // namespace lmnet
