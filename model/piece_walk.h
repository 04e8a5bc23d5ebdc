#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "model/cache.h"
#include "model/exchange.h"
#include "model/network.h"
#include "model/sequence.h"
#include "model/time_axis.h"

namespace lmnet {

/// Some rows of the batch on their way through the levels of one rank's layout, and back. Each leg is an autograd
/// segment of its own with detached inputs; backward walks the segments the other way, so that the schedule of
/// communication comes from the layout alone and never from autograd's readiness. What leaves a level travels until the
/// next level begins: Walk lets other pieces compute meanwhile.
class PieceWalk {
 public:
  /// All references must outlive the walk. `sequence`: the rows of the piece, which `layout` lays out. `gradient_gaps`:
  /// for each level whether the messages that leave it carry gradients. `cache`: of a generation, or null.
  PieceWalk(Network& network, const Layout& layout, Exchange& exchange, const std::vector<bool>& gradient_gaps,
            const TimeAxis& time, Sequence sequence, Cache* cache);

  const Sequence& sequence() const { return sequence_; }
  /// The piece's rows at which this rank runs the head.
  RowRange head_rows() const;

  /// Takes what arrived from the level before and runs the vertices.
  void forward_vertices(int level, bool keep_graph);
  /// Runs the edges that leave the level and sends what they give.
  void forward_edges(int level, bool keep_graph);
  /// Takes what arrived for the head. What it reads here: [R, before + T, D]. No gradients.
  at::Tensor head_input();

  /// The gradient of head_input() (undefined without rows), scaled; sends what goes back from it.
  void start_backward(at::Tensor head_gradient);
  /// Takes what came back to the level and walks its edges back: their gradients are added to.
  void backward_edges(int level);
  /// The same for its vertices; sends what goes back from them.
  void backward_vertices(int level);

 private:
  /// The output of edges that ran as one call.
  struct EdgeCall {
    std::vector<int> edges;
    at::Tensor output;  // [E, R, T, D]
  };
  /// One level on the tape.
  struct Segment {
    at::Tensor input;                  // messages added up: [items, T, D], accumulation dtype; undefined without any
    std::vector<at::Tensor> outputs;   // of the vertices, by share: [R, T, D]
    std::vector<at::Tensor> read;      // the same, detached: what the edges read
    std::vector<EdgeCall> calls;       // what left the level
    std::vector<Share> sent, arrived;  // of the gap behind the level
  };

  at::Tensor embed(RowRange rows) const;
  at::Tensor level_input(int level);
  std::vector<at::Tensor> run_vertices(int level, const at::Tensor& input);
  std::vector<EdgeCall> run_edges(const std::function<at::Tensor(int edge)>& input, int source_level);
  Steps steps_for(const Steps& steps, const std::vector<RowRange>& rows) const;
  std::vector<Message> collect_messages(const Segment& segment) const;
  void take_arrived(int level);
  void send_gradients(int level);
  std::vector<Message> gradients_of_arrived(const Segment& segment) const;
  at::Tensor gradient_of(const EdgeCall& call, const std::vector<Message>& gradients) const;
  void run_backward(const std::vector<at::Tensor>& outputs, const std::vector<at::Tensor>& gradients);
  RowRange rows_of_vertex(int vertex) const;
  std::vector<KeyValues>* cached_vertex(int first) const {
    return cache_ == nullptr ? nullptr : &cache_->vertex(first);
  }
  std::vector<KeyValues>* cached_edge(int first) const { return cache_ == nullptr ? nullptr : &cache_->edge(first); }
  at::Tensor rows_of(const at::Tensor& level_tensor, const Share& share) const;
  at::Tensor scales(int level) const;
  at::TensorOptions accumulation() const;

  Network& network_;
  const Graph& graph_;
  const Layout& layout_;
  Exchange& exchange_;
  const std::vector<bool>& gradient_gaps_;
  const TimeAxis& time_;
  Sequence sequence_;
  Cache* cache_;
  std::vector<Segment> tape_;               // levels, then the head's pseudo-level
  std::vector<at::Tensor> input_gradient_;  // by level: gradient of Segment::input
};

}  // namespace lmnet
