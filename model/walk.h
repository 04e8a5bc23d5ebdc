#pragma once
#include <functional>
#include <vector>

#include "model/cache.h"
#include "model/exchange.h"
#include "model/loss.h"
#include "model/network.h"
#include "model/piece_walk.h"
#include "model/sequence.h"

namespace lmnet {

/// Rows of a batch that go through the levels together: laid out by the plan's rule as if they were the whole batch.
struct Piece {
  RowRange rows;
  const Layout* layout;
  Exchange* exchange;
};

/// What the caller does at the legs of a walk.
struct LegHooks {
  /// Forward: parameters whose first leg is this one are read from now on. Once for each piece.
  std::function<void(int leg)> before = [](int) {};
  /// Backward: the gradients of parameters whose first leg is this one are complete for this walk.
  std::function<void(int leg)> after = [](int) {};
};

/// One pass of a batch, in pieces, through the levels of one rank's layout: at every level piece k+1 computes while
/// what left piece k travels, forward and backward. The order is the same on all ranks of the replica.
class Walk {
 public:
  /// All must outlive the walk. `gradient_gaps`: for each level whether the messages that leave it carry gradients.
  Walk(Network& network, std::vector<Piece> pieces, std::vector<bool> gradient_gaps, LegHooks hooks = {});
  /// The batch as one piece.
  Walk(Network& network, const Layout& layout, Exchange& exchange, std::vector<bool> gradient_gaps);

  /// What the head reads, at this rank's rows of the head and at the tokens (not the prefix): [R, T, D], piece after
  /// piece. No gradients.
  at::Tensor hidden(const Sequence& sequence);

  /// The same for the tokens that follow those in `cache`, which is filled further. Needs all rows on this rank, as one
  /// piece. Prompts of unlike length are padded on the right; after them rows go on by one token, or all at one
  /// position; with a prefix all rows of a batch begin together.
  at::Tensor hidden(const Sequence& sequence, Cache& cache);

  /// Σ loss over this rank's targets: fp64 scalar on the network's device. No gradients.
  at::Tensor loss(const Sequence& sequence, const LossRule& rule = {});

  /// The same, and scale · ∂loss/∂parameter is added to the gradient of every parameter that trains.
  at::Tensor loss_and_gradients(const Sequence& sequence, double scale, const LossRule& rule = {});

 private:
  std::vector<PieceWalk> forward(const Sequence& sequence, const TimeAxis& time, bool keep_graph,
                                 Cache* cache = nullptr);
  at::Tensor hidden(const Sequence& sequence, Cache* cache);

  Network& network_;
  std::vector<Piece> pieces_;
  std::vector<bool> gradient_gaps_;
  LegHooks hooks_;
};

}  // namespace lmnet
