#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "model/graph/layout.h"

namespace lmnet {

/// What edges send to rows of a destination vertex: [rows, T, D].
struct Message {
  Share share;
  at::Tensor value;
};

/// Carries the messages of a gap to the ranks that run their destinations, and their gradients back. Every rank calls
/// the same sequence of forward and backward exchanges, with or without messages of its own.
class Exchange {
 public:
  virtual ~Exchange() = default;

  /// `messages` are outgoing(graph, layout, level), in that order, in the accumulation dtype. Returns the messages
  /// that arrive here, in the order in which they are to be added.
  virtual std::vector<Message> forward(int level, std::vector<Message> messages) = 0;

  /// The transpose: `gradients` of what forward() returned, in that order; returns the gradients of what it was given,
  /// in pieces of rows that do not overlap.
  virtual std::vector<Message> backward(int level, std::vector<Message> gradients) = 0;
};

/// One process: every message has arrived.
class LocalExchange final : public Exchange {
 public:
  std::vector<Message> forward(int, std::vector<Message> messages) override { return messages; }
  std::vector<Message> backward(int, std::vector<Message> gradients) override { return gradients; }
};

}  // namespace lmnet
