#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <vector>

#include "model/graph/layout.h"

namespace lmnet {

/// What edges send to rows of a destination vertex: [rows, T, D].
struct Message {
  Share share;
  at::Tensor value;
};

/// Carries the messages of a gap to the ranks that run their destinations, and their gradients back, for one piece of
/// the batch. Every rank starts and finishes the same exchanges in the same order, with or without messages of its own;
/// what was started travels until it is finished, while other pieces compute.
class Exchange {
 public:
  virtual ~Exchange() = default;

  /// `messages` are outgoing(graph, layout, level), in that order, in the accumulation dtype.
  virtual void start_forward(int level, std::vector<Message> messages) = 0;
  /// The messages of the gap behind `level` that arrive here, in the order in which they are to be added.
  virtual std::vector<Message> finish_forward(int level) = 0;

  /// The transpose: `gradients` of what finish_forward() returned, in that order.
  virtual void start_backward(int level, std::vector<Message> gradients) = 0;
  /// The gradients of what start_forward() was given, in pieces of rows that do not overlap.
  virtual std::vector<Message> finish_backward(int level) = 0;
};

/// One process: every message has arrived.
class LocalExchange final : public Exchange {
 public:
  void start_forward(int level, std::vector<Message> messages) override { under_way_[level] = std::move(messages); }
  std::vector<Message> finish_forward(int level) override { return std::move(under_way_[level]); }
  void start_backward(int level, std::vector<Message> gradients) override { under_way_[level] = std::move(gradients); }
  std::vector<Message> finish_backward(int level) override { return std::move(under_way_[level]); }

 private:
  std::map<int, std::vector<Message>> under_way_;
};

}  // namespace lmnet
