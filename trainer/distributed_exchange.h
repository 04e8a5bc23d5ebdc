#pragma once
#include <map>
#include <utility>
#include <vector>

#include "model/exchange.h"
#include "parallel/communicator.h"
#include "parallel/plan.h"

namespace lmnet {

/// One rank's part of the plan for so many rows: what it runs, and the routes of each gap that start or end here, by
/// peer, each in the plan's order. The same for every batch of that size.
struct Itinerary {
  Itinerary(const Plan& plan, int rank, int64_t rows);

  struct Gap {
    std::vector<std::vector<Share>> sent, arriving;
  };
  Layout layout;
  std::vector<Gap> gaps;  // by level
};

/// Carries the messages of a gap by one all-to-all of the vertex-parallel group, in the compute dtype; what stays on
/// this rank is passed on as it is. The counts come from the plan: no rank asks another. Buffers live until what they
/// hold has arrived.
class DistributedExchange final : public Exchange {
 public:
  /// Rows of [T, D] = [length, width]. Time spent waiting for what has not arrived yet is added to `waited` (seconds).
  /// All references outlive the exchange.
  DistributedExchange(const Itinerary& itinerary, Communicator& group, int64_t length, int64_t width,
                      at::TensorOptions options, double& waited);

  void start_forward(int level, std::vector<Message> messages) override;
  std::vector<Message> finish_forward(int level) override;
  void start_backward(int level, std::vector<Message> gradients) override;
  std::vector<Message> finish_backward(int level) override;

 private:
  using ByPeer = std::vector<std::vector<at::Tensor>>;
  /// One way of a gap, under way.
  struct Transfer {
    Work work;
    at::Tensor received;  // 1-D, in the order of the peers
    std::vector<at::Tensor> kept;
  };
  Transfer start(ByPeer outgoing, const std::vector<std::vector<Share>>& incoming);
  std::vector<Message> finish(Transfer transfer, const std::vector<std::vector<Share>>& incoming);

  const Itinerary& itinerary_;
  Communicator& group_;
  int64_t length_, width_;
  at::TensorOptions options_;
  double& waited_;
  std::map<int, Transfer> under_way_;  // by level; a gap goes one way at a time
};

}  // namespace lmnet
