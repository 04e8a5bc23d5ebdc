#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "parallel/cuda/nccl_job.h"

namespace lmnet {

/// Collectives of GPU tensors by NCCL. A queue is a stream: a collective starts after what is on the current stream,
/// Work::wait() makes the current stream come after it, and the host waits for neither. Tensors on the host, and all
/// that only steers, go to a host communicator over the same ranks, beside which this one stands: a world of it is what
/// Mesh takes as its parent.
///
/// Groups that were made by split() or fork() have a communicator of NCCL's own and its algorithms; those of subgroup()
/// send point to point on their parent's, and add in rank order. The sum of bf16 is formed in fp32 by the latter only.
///
/// A failure, also one that another rank tells of, ends what is on its way on the GPU; the next call here throws its
/// cause, so whoever reads a result from the GPU before that must not trust it.
class NcclCommunicator final : public Communicator {
 public:
  /// Ranks of a group, by rank in it: in the world, and in NCCL's communicator.
  struct Members {
    std::vector<int> world, nccl;
  };

  /// Over the ranks of `host`, each with a `device` of its own. Collective. Throws CommunicationError.
  NcclCommunicator(std::unique_ptr<Communicator> host, at::Device device);
  /// A part of that: what split(), subgroup() and fork() make.
  NcclCommunicator(std::shared_ptr<NcclJob> job, NcclJob::Queue queue, std::shared_ptr<NcclGroup> group,
                   Members members, std::unique_ptr<Communicator> host);

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }

  Work start_all_to_all(at::Tensor send, std::span<const int64_t> send_counts, at::Tensor receive,
                        std::span<const int64_t> receive_counts) override;
  Work start_all_reduce(at::Tensor tensor, Reduction reduction) override;
  Work start_reduce_scatter(at::Tensor flat, Reduction reduction) override;
  Work start_all_gather(at::Tensor flat) override;
  Work start_broadcast(at::Tensor tensor, int root) override;
  /// Of the hosts: says nothing of what is still on the GPUs.
  void barrier() override;

  std::unique_ptr<Communicator> split(int color) override;
  std::unique_ptr<Communicator> subgroup(std::vector<int> ranks) override;
  std::unique_ptr<Communicator> fork() override;
  void enter(std::string phase, std::chrono::milliseconds timeout) override;
  void fail(const std::string& cause, int code) noexcept override;

 private:
  using Tensors = std::vector<at::Tensor>;

  /// Throws where there is a fault.
  void require_none(std::string_view collective, std::string_view fault) const;
  /// Whether a collective of the tensor is the host's. Throws where it is neither that nor one for NCCL.
  bool on_host(std::string_view collective, const at::Tensor& tensor, bool flat) const;
  /// Whether NCCL's communicator has the members of this group and no others.
  bool whole() const { return group_->size() == size(); }
  Watchdog::Label label(const char* collective) const;
  /// Runs `enqueue` on the queue's stream, after the current one; it keeps `tensors` until that is done.
  Work start(const char* collective, Tensors tensors, const std::function<void(const Watchdog::Label&)>& enqueue);

  // On the queue's stream.
  void send_and_receive(const Watchdog::Label& label, const Tensors& send, const Tensors& receive);
  void reduce_own_piece(const Watchdog::Label& label, const at::Tensor& flat, Reduction reduction);
  void gather_pieces(const Watchdog::Label& label, const at::Tensor& flat);

  std::shared_ptr<NcclJob> job_;  // goes after the groups
  NcclJob::Queue queue_;
  std::shared_ptr<NcclGroup> group_;
  Members members_;
  std::unique_ptr<Communicator> host_;
};

}  // namespace lmnet
