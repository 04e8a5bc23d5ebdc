#include "model/walk.h"

#include <ATen/ATen.h>

#include <optional>
#include <utility>

namespace lmnet {
namespace {

/// The head's share of a piece: Σ loss, and (with `scale`) the gradient of what head_input() gave.
HeadLoss loss_of(PieceWalk& piece, Network& network, int64_t before, std::optional<double> scale,
                 const LossRule& rule) {
  const at::Tensor input = piece.head_input();
  if (input.size(0) == 0) return {at::zeros({}, input.options().dtype(at::kDouble)), {}};
  const Sequence here = piece.sequence().narrow(piece.head_rows());
  const at::Tensor h = input.narrow(1, before, here.length());
  const Parameter& head = network.head();
  const at::Tensor gradient = scale && head.gradient.defined() ? head.gradient[0] : at::Tensor();
  HeadLoss result = head_loss(h.flatten(0, 1), head.value[0], here.targets.flatten(), here.learn.flatten(),
                              scale.value_or(1), scale.has_value(), gradient, rule.label_smoothing);
  if (!scale) return result;
  result.hidden_gradient = result.hidden_gradient.view(h.sizes());
  if (before > 0) result.hidden_gradient = at::constant_pad_nd(result.hidden_gradient, {0, 0, before, 0});
  return result;
}

at::Tensor nothing(const Sequence& sequence) {
  return at::zeros({}, sequence.tokens.options().dtype(at::kDouble));
}

}  // namespace

Walk::Walk(Network& network, std::vector<Piece> pieces, std::vector<bool> gradient_gaps, LegHooks hooks)
    : network_(network),
      pieces_(std::move(pieces)),
      gradient_gaps_(std::move(gradient_gaps)),
      hooks_(std::move(hooks)) {}

Walk::Walk(Network& network, const Layout& layout, Exchange& exchange, std::vector<bool> gradient_gaps)
    : Walk(network, {{{0, layout.batch}, &layout, &exchange}}, std::move(gradient_gaps)) {}

std::vector<PieceWalk> Walk::forward(const Sequence& sequence, const TimeAxis& time, bool keep_graph, Cache* cache) {
  std::vector<PieceWalk> walks;
  walks.reserve(pieces_.size());
  for (const Piece& piece : pieces_)
    walks.emplace_back(network_, *piece.layout, *piece.exchange, gradient_gaps_, time, sequence.narrow(piece.rows),
                       cache);
  const int head = network_.graph().levels();
  for (int level = 0; level < head; ++level)
    for (PieceWalk& walk : walks) {
      hooks_.before(vertex_leg(level));
      walk.forward_vertices(level, keep_graph);
      hooks_.before(edge_leg(level));
      walk.forward_edges(level, keep_graph);
    }
  hooks_.before(vertex_leg(head));
  return walks;
}

at::Tensor Walk::hidden(const Sequence& sequence, Cache* cache) {
  const TimeAxis time = time_axis(network_, sequence, cache);
  std::vector<at::Tensor> parts;
  for (PieceWalk& walk : forward(sequence, time, /*keep_graph=*/false, cache))
    parts.push_back(walk.head_input().narrow(1, time.before, sequence.length()));
  return parts.size() == 1 ? parts.front() : at::cat(parts);
}

at::Tensor Walk::hidden(const Sequence& sequence) {
  return hidden(sequence, nullptr);
}

at::Tensor Walk::hidden(const Sequence& sequence, Cache& cache) {
  TORCH_CHECK(sequence.rows() == cache.rows() && pieces_.size() == 1 &&
                  pieces_.front().layout->items(network_.graph().levels()) == sequence.rows(),
              "a cache belongs to all rows of one process");
  return hidden(sequence, &cache);
}

at::Tensor Walk::loss(const Sequence& sequence, const LossRule& rule) {
  const TimeAxis time = time_axis(network_, sequence, nullptr);
  at::Tensor sum = nothing(sequence);
  for (PieceWalk& walk : forward(sequence, time, /*keep_graph=*/false))
    sum.add_(loss_of(walk, network_, time.before, std::nullopt, rule).sum);
  return sum;
}

at::Tensor Walk::loss_and_gradients(const Sequence& sequence, double scale, const LossRule& rule) {
  const TimeAxis time = time_axis(network_, sequence, nullptr);
  at::Tensor sum = nothing(sequence);
  std::vector<PieceWalk> walks = forward(sequence, time, /*keep_graph=*/true);
  for (PieceWalk& walk : walks) {
    const HeadLoss result = loss_of(walk, network_, time.before, scale, rule);
    sum.add_(result.sum);
    walk.start_backward(result.hidden_gradient);
  }
  const int head = network_.graph().levels();
  hooks_.after(vertex_leg(head));
  for (int level = head - 1; level >= 0; --level) {
    for (PieceWalk& walk : walks) {
      walk.backward_edges(level);
      if (&walk == &walks.back()) hooks_.after(edge_leg(level));
      walk.backward_vertices(level);
    }
    hooks_.after(vertex_leg(level));
  }
  return sum;
}

}  // namespace lmnet
