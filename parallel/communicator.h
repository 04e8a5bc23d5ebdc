#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>

namespace lmnet {

enum class Reduction { sum, max, min };

/// Collectives over an ordered group of ranks. Tensors are contiguous host tensors of type fp64, fp32, bf16 or int64;
/// counts are elements. Every rank of the group makes the same calls in the same order. Reductions add in rank order
/// (bf16 in fp32, rounded once), so that the result is the same bits on every rank and in every run. Calls return when
/// the tensor may be used again. All throw CommunicationError.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// Sends `send_counts[r]` elements to each rank r, taken from `send` (1-D) in rank order, and fills `receive` (1-D)
  /// with `receive_counts[r]` elements from each rank r in rank order. Empty counts are allowed. What this rank
  /// receives from r is what r sends to it. `send` and `receive` have the same dtype and do not overlap.
  virtual void all_to_all(const at::Tensor& send, std::span<const int64_t> send_counts, at::Tensor& receive,
                          std::span<const int64_t> receive_counts) = 0;

  /// Replaces `tensor` on every rank by the reduction over all ranks.
  virtual void all_reduce(at::Tensor& tensor, Reduction reduction = Reduction::sum) = 0;

  /// Replaces `tensor` on every rank by the one of `root`.
  virtual void broadcast(at::Tensor& tensor, int root) = 0;

  virtual void barrier() = 0;

  /// The ranks that give the same `color` form a group, in the order of their rank here. Collective.
  virtual std::unique_ptr<Communicator> split(int color) = 0;

  /// Ends the job on all ranks after a failure here: those that wait, or come to wait, get a CommunicationError
  /// (threads) or are ended with `code` (MPI). May be called at any moment, from the failing rank only.
  virtual void abort(int code) noexcept = 0;
};

}  // namespace lmnet
