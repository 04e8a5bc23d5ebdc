#pragma once
#include <map>
#include <utility>

#include "model/exchange.h"
#include "parallel/communicator.h"
#include "parallel/plan.h"

namespace lmnet {

/// Carries the messages of a gap by one all-to-all of the vertex-parallel group, in the compute dtype; what stays on
/// this rank is passed on as it is. The counts come from the plan: no rank asks another.
class DistributedExchange final : public Exchange {
 public:
  /// `rows` of the replica's batch, each [T, D]; plan and group outlive the exchange.
  DistributedExchange(const Plan& plan, Communicator& group, int64_t rows, int64_t length, int64_t width,
                      at::ScalarType dtype);

  std::vector<Message> forward(int level, std::vector<Message> messages) override;
  std::vector<Message> backward(int level, std::vector<Message> gradients) override;

 private:
  /// The routes of a gap that start or end here, by peer, each in the plan's order.
  struct Gap {
    std::vector<std::vector<Share>> sent, arriving;
  };
  const Gap& gap(int level);
  /// Sends outgoing[r] to each rank r but this one and returns what comes, shaped as `incoming`.
  std::vector<std::vector<at::Tensor>> transfer(const std::vector<std::vector<at::Tensor>>& outgoing,
                                                const std::vector<std::vector<Share>>& incoming);

  const Plan& plan_;
  Communicator& group_;
  int64_t rows_, length_, width_;
  at::ScalarType dtype_;
  std::map<int, Gap> gaps_;
};

}  // namespace lmnet
