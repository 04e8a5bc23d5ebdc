#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "model/cache.h"
#include "model/exchange.h"
#include "model/loss.h"
#include "model/network.h"
#include "model/sequence.h"

namespace lmnet {

/// One pass of a batch through the levels of one rank's layout. Each level is an autograd segment of its own with
/// detached inputs; backward walks the segments the other way, so that the schedule of communication comes from the
/// layout alone and never from autograd's readiness.
class Walk {
 public:
  /// All must outlive the walk. `gradient_gaps`: for each level whether the messages that leave it carry gradients.
  Walk(Network& network, const Layout& layout, Exchange& exchange, std::vector<bool> gradient_gaps);

  /// What the head reads, at this rank's rows of the head and at the tokens (not the prefix): [R, T, D]. No gradients.
  at::Tensor hidden(const Sequence& sequence);

  /// The same for the tokens that follow those in `cache`, which is filled further. Needs all rows on this rank.
  /// Prompts of unlike length are padded on the right; after them rows go on by one token, or all at one position; with
  /// a prefix all rows of a batch begin together.
  at::Tensor hidden(const Sequence& sequence, Cache& cache);

  /// Σ loss over this rank's targets. No gradients.
  double loss(const Sequence& sequence, const LossRule& rule = {});

  /// The same, and scale · ∂loss/∂parameter is added to the gradient of every parameter that trains.
  double loss_and_gradients(const Sequence& sequence, double scale, const LossRule& rule = {});

 private:
  /// The output of edges that ran as one call.
  struct EdgeCall {
    std::vector<int> edges;
    at::Tensor output;  // [E, R, T, D]
  };
  /// One level on the tape.
  struct Segment {
    at::Tensor input;                  // messages added up: [items, T, D], accumulation dtype; undefined without any
    std::vector<EdgeCall> calls;       // what left the level
    std::vector<Share> sent, arrived;  // of the gap behind the level
  };

  at::Tensor forward(const Sequence& sequence, bool keep_graph, Cache* cache = nullptr);
  void set_time(const Sequence& sequence, Cache* cache);
  Steps steps_of(const BackboneConfig& backbone) const;
  const Steps& steps_of_group(const std::string& group) const;
  at::Tensor embed(const Sequence& sequence, RowRange rows) const;
  void backward(at::Tensor head_gradient);
  void run_level(int level, const Sequence& sequence);
  at::Tensor level_input(int level, const Sequence& sequence);
  std::vector<at::Tensor> run_vertices(int level, const at::Tensor& input);
  std::vector<EdgeCall> run_edges(const std::function<at::Tensor(int edge)>& input, int source_level);
  std::vector<Message> collect_messages(Segment& segment) const;
  void deliver(const std::vector<Message>& messages);
  std::vector<Message> gradients_of_arrived(const Segment& segment) const;
  void run_backward(Segment& segment, const std::vector<Message>& gradients);
  void take_gradients();
  RowRange rows_of_vertex(int vertex) const;
  std::vector<KeyValues>* cached_vertex(int first) const {
    return cache_ == nullptr ? nullptr : &cache_->vertex(first);
  }
  std::vector<KeyValues>* cached_edge(int first) const { return cache_ == nullptr ? nullptr : &cache_->edge(first); }
  at::Tensor rows_of(const at::Tensor& level_tensor, const Share& share) const;
  at::Tensor scales(int level) const;

  Network& network_;
  const Graph& graph_;
  const Layout& layout_;
  Exchange& exchange_;
  std::vector<bool> gradient_gaps_;
  Cache* cache_ = nullptr;                    // of the forward under way, if it is a generation's
  int64_t before_ = 0;                        // vectors of the prefix that stand before this forward's tokens
  int64_t length_ = 0;                        // of the time axis: before_ + T
  std::vector<int64_t> start_;                // Steps::start
  std::vector<int64_t> lengths_;              // Steps::lengths
  Steps steps_;                               // of the edges and of vertices of the main backbone
  std::map<std::string, Steps> group_steps_;  // of groups with a backbone of their own
  std::vector<Segment> tape_;                 // levels, then the head's pseudo-level
  std::vector<at::Tensor> input_gradient_;    // by level: gradient of Segment::input
};

}  // namespace lmnet
