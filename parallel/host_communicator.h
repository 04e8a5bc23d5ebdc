#pragma once
#include <memory>
#include <string_view>
#include <vector>

#include "parallel/communication_thread.h"
#include "parallel/communicator.h"
#include "parallel/staging.h"

namespace lmnet {

/// A group whose collectives are made of messages between its ranks, in stages that the communication thread runs:
/// threads and MPI processes give the same bits. CUDA tensors travel through pinned memory of the host.
class HostCommunicator final : public Communicator {
 public:
  /// The group of `members` (ranks of the world, the one of `thread` among them) on `queue`.
  HostCommunicator(std::shared_ptr<CommunicationThread> thread, std::vector<int> members, int queue);

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(members_->size()); }

  Work start_all_to_all(at::Tensor send, std::span<const int64_t> send_counts, at::Tensor receive,
                        std::span<const int64_t> receive_counts) override;
  Work start_all_reduce(at::Tensor tensor, Reduction reduction = Reduction::sum) override;
  Work start_reduce_scatter(at::Tensor flat, Reduction reduction = Reduction::sum) override;
  Work start_all_gather(at::Tensor flat) override;
  Work start_broadcast(at::Tensor tensor, int root) override;
  void barrier() override;

  std::unique_ptr<Communicator> split(int color) override;
  std::unique_ptr<Communicator> subgroup(std::vector<int> ranks) override;
  std::unique_ptr<Communicator> fork() override;
  void enter(std::string phase, std::chrono::milliseconds timeout) override;
  void fail(const std::string& cause, int code) noexcept override;

 private:
  using Place = std::shared_ptr<Staging>;

  Work start(std::string_view collective, std::deque<Stage> stages, Place result);
  Place place(std::string_view collective, at::Tensor tensor, bool flat) const;
  /// Throws where there is a fault.
  void require_none(std::string_view collective, std::string_view fault) const;
  std::vector<int64_t> gather(std::string_view collective, int64_t value);

  std::shared_ptr<CommunicationThread> thread_;
  std::shared_ptr<const std::vector<int>> members_;
  int rank_, queue_;
};

}  // namespace lmnet
