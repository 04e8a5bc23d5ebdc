#pragma once
#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace lmnet {

enum class Reduction { sum, max, min };

/// A collective that was started. Copies stand for the same one. It keeps its tensors alive until it is done, also when
/// nobody waits for it.
class Work {
 public:
  /// What a backend knows of a collective on its way.
  class State {
   public:
    virtual ~State() = default;
    virtual void wait() = 0;
    virtual bool done() = 0;
  };

  /// One that is done.
  Work() = default;
  explicit Work(std::shared_ptr<State> state) : state_(std::move(state)) {}

  /// Host tensors: returns when the result is there and the tensors may be changed. CUDA tensors: work that is
  /// submitted to the current stream from now on comes after the collective; the host does not wait. Throws
  /// CommunicationError.
  void wait() const {
    if (state_) state_->wait();
  }
  /// Whether the collective has ended, well or not.
  bool done() const { return !state_ || state_->done(); }

 private:
  std::shared_ptr<State> state_;
};

/// Collectives over an ordered group of ranks. Tensors are contiguous, of type fp64, fp32, bf16 or int64; counts are
/// elements. Reductions of host tensors add in rank order (bf16 in fp32, rounded once), so that the result is the same
/// bits on every rank and in every run.
///
/// Every group belongs to a queue. What is started on the groups of one queue runs in the order in which it was
/// started; different queues run beside each other. Every two ranks start the collectives that they share in the same
/// order on a queue; a collective of a subgroup concerns its members only. Until its Work is waited for, the tensors of
/// a collective must not be touched. All throw CommunicationError.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// Sends `send_counts[r]` elements to each rank r, taken from `send` (1-D) in rank order, and fills `receive` (1-D)
  /// with `receive_counts[r]` elements from each rank r in rank order. Empty counts are allowed. What this rank
  /// receives from r is what r sends to it. `send` and `receive` have the same dtype and do not overlap.
  virtual Work start_all_to_all(at::Tensor send, std::span<const int64_t> send_counts, at::Tensor receive,
                                std::span<const int64_t> receive_counts) = 0;

  /// Replaces `tensor` on every rank by the reduction over all ranks.
  virtual Work start_all_reduce(at::Tensor tensor, Reduction reduction = Reduction::sum) = 0;

  /// Replaces piece `rank()` of `flat` (1-D, cut by piece_of() of pieces.h into size() pieces) by its reduction over
  /// all ranks; what the other pieces hold afterwards is not said.
  virtual Work start_reduce_scatter(at::Tensor flat, Reduction reduction = Reduction::sum) = 0;

  /// Replaces every piece r of `flat` (1-D, cut as above) by that of rank r.
  virtual Work start_all_gather(at::Tensor flat) = 0;

  /// Replaces `tensor` on every rank by the one of `root`.
  virtual Work start_broadcast(at::Tensor tensor, int root) = 0;

  virtual void barrier() = 0;

  /// The same, and wait.
  void all_to_all(const at::Tensor& send, std::span<const int64_t> send_counts, at::Tensor& receive,
                  std::span<const int64_t> receive_counts) {
    start_all_to_all(send, send_counts, receive, receive_counts).wait();
  }
  void all_reduce(at::Tensor& tensor, Reduction reduction = Reduction::sum) {
    start_all_reduce(tensor, reduction).wait();
  }
  void reduce_scatter(at::Tensor& flat, Reduction reduction = Reduction::sum) {
    start_reduce_scatter(flat, reduction).wait();
  }
  void all_gather(at::Tensor& flat) { start_all_gather(flat).wait(); }
  void broadcast(at::Tensor& tensor, int root) { start_broadcast(tensor, root).wait(); }

  /// The ranks that give the same `color` form a group, in the order of their rank here, on the queue of this one.
  /// Collective.
  virtual std::unique_ptr<Communicator> split(int color) = 0;

  /// The group of `ranks` (of this group, ascending, this one among them) on the queue of this one. Only its members
  /// need to ask for it, and nothing is communicated.
  virtual std::unique_ptr<Communicator> subgroup(std::vector<int> ranks) = 0;

  /// The same ranks on a queue of its own. Collective.
  virtual std::unique_ptr<Communicator> fork() = 0;

  /// What all groups of this job on this rank do from now on, for errors (`update 12`, `checkpoint of update 12`), and
  /// how long one of their waits may see nothing move before it is given up. Local.
  virtual void enter(std::string phase, std::chrono::milliseconds timeout) = 0;

  /// Tells people (TellFailure) and all ranks of the job that this one cannot go on: their present and later waits end
  /// in a RankFailed with this cause and code. The first cause a rank hears of stays. May be called at any moment.
  virtual void fail(const std::string& cause, int code) noexcept = 0;
};

}  // namespace lmnet
