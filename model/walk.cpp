#include "model/walk.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>

namespace lmnet {

Walk::Walk(Network& network, const Layout& layout, Exchange& exchange, std::vector<bool> gradient_gaps)
    : network_(network),
      graph_(network.graph()),
      layout_(layout),
      exchange_(exchange),
      gradient_gaps_(std::move(gradient_gaps)) {}

at::Tensor Walk::hidden(const Sequence& sequence) {
  return forward(sequence, /*keep_graph=*/false);
}

at::Tensor Walk::hidden(const Sequence& sequence, Cache& cache) {
  TORCH_CHECK(sequence.rows() == cache.rows() && layout_.items(graph_.levels()) == sequence.rows(),
              "a cache belongs to all rows of one process");
  return forward(sequence, /*keep_graph=*/false, &cache);
}

double Walk::loss(const Sequence& sequence, const LossRule& rule) {
  at::Tensor h = forward(sequence, /*keep_graph=*/false);
  if (h.size(0) == 0) return 0;
  Sequence here = sequence.narrow(layout_.levels.back().front().rows);
  return head_loss(h.flatten(0, 1), network_.head().value[0], here.targets.flatten(), here.learn.flatten(), 1, false,
                   {}, rule.label_smoothing)
      .sum;
}

double Walk::loss_and_gradients(const Sequence& sequence, double scale, const LossRule& rule) {
  at::Tensor h = forward(sequence, /*keep_graph=*/true);
  HeadLoss result;
  if (h.size(0) > 0) {
    Sequence here = sequence.narrow(layout_.levels.back().front().rows);
    const Parameter& head = network_.head();
    result = head_loss(h.flatten(0, 1), head.value[0], here.targets.flatten(), here.learn.flatten(), scale, true,
                       head.gradient.defined() ? head.gradient[0] : at::Tensor(), rule.label_smoothing);
    result.hidden_gradient = result.hidden_gradient.view(h.sizes());
    if (before_ > 0) result.hidden_gradient = at::constant_pad_nd(result.hidden_gradient, {0, 0, before_, 0});
  }
  backward(result.hidden_gradient);
  return result.sum;
}

/// Where the tokens of this forward stand. A prefix comes before the first position, and shifts all slots behind it;
/// the learned positions of the tokens themselves are not shifted (reference 2.1, 2.8).
void Walk::set_time(const Sequence& sequence, Cache* cache) {
  cache_ = cache;
  const int64_t prefix = network_.shape().prefix;
  TORCH_CHECK(sequence.start.empty() || std::ssize(sequence.start) == sequence.rows(), "a start for each row");
  const auto fresh = std::count(sequence.start.begin(), sequence.start.end(), 0);
  const bool begins = fresh == std::ssize(sequence.start);
  TORCH_CHECK(begins || prefix == 0 || fresh == 0, "with a prefix all rows of a batch begin together");
  before_ = begins ? prefix : 0;
  length_ = before_ + sequence.length();
  start_.clear();
  if (cache != nullptr) {
    start_.assign(sequence.rows(), 0);
    if (!begins)
      for (size_t row = 0; row < start_.size(); ++row) start_[row] = prefix + sequence.start[row];
  }
  lengths_.clear();
  for (const int64_t length : sequence.lengths) lengths_.push_back(before_ + length);
  for (const std::vector<Share>& shares : layout_.levels)
    for (const Share& share : shares)
      TORCH_CHECK(lengths_.empty() || share.rows.size() == sequence.rows(), "padding needs all rows on one rank");
  steps_ = steps_of(network_.backbone());
  group_steps_.clear();
  for (const auto& [group, backbone] : network_.shape().groups) group_steps_[group] = steps_of(backbone);
}

const Steps& Walk::steps_of_group(const std::string& group) const {
  const auto own = group_steps_.find(group);
  return own == group_steps_.end() ? steps_ : own->second;
}

Steps Walk::steps_of(const BackboneConfig& backbone) const {
  Steps steps{{}, start_, cache_ == nullptr ? 0 : network_.shape().prefix + cache_->capacity(), lengths_};
  if (backbone.gpt2()) return steps;
  at::Tensor positions = at::arange(length_, at::kLong);
  if (!start_.empty()) {
    const bool equal = std::adjacent_find(start_.begin(), start_.end(), std::not_equal_to<>()) == start_.end();
    positions = equal ? positions + start_.front() : positions + at::tensor(start_, at::kLong).unsqueeze(1);
  }
  steps.rotary = Rotary::tables(backbone, positions, network_.dtype());
  return steps;
}

/// Prefix and tokens of these rows: [R, before_ + T, D].
at::Tensor Walk::embed(const Sequence& sequence, RowRange rows) const {
  const Sequence part = sequence.narrow(rows);
  at::Tensor x = network_.embed(part.tokens, part.start);
  if (before_ == 0) return x;
  return at::cat({network_.prefix().unsqueeze(0).expand({x.size(0), -1, -1}), x}, 1);
}

at::Tensor Walk::forward(const Sequence& sequence, bool keep_graph, Cache* cache) {
  tape_.assign(graph_.levels() + 1, {});
  input_gradient_.assign(graph_.levels() + 1, {});
  set_time(sequence, cache);
  for (int level = 0; level < graph_.levels(); ++level) {
    Segment& segment = tape_[level];
    {
      // Where nothing before the gap trains, there is nothing to record.
      at::AutoGradMode record(keep_graph && gradient_gaps_[level]);
      run_level(level, sequence);
    }
    at::NoGradGuard no_grad;
    std::vector<Message> arrived = exchange_.forward(level, collect_messages(segment));
    for (const Message& message : arrived) segment.arrived.push_back(message.share);
    deliver(arrived);
    if (!keep_graph || !gradient_gaps_[level]) segment.calls.clear();
  }
  at::NoGradGuard no_grad;
  if (layout_.items(graph_.levels()) == 0)
    return at::empty({0, sequence.length(), network_.backbone().hidden_size}, network_.dtype());
  return level_input(graph_.levels(), sequence).detach().narrow(1, before_, sequence.length());
}

void Walk::run_level(int level, const Sequence& sequence) {
  if (layout_.levels[level].empty()) return;
  Segment& segment = tape_[level];
  bool gradients_wanted = std::any_of(gradient_gaps_.begin(), gradient_gaps_.begin() + level, [](bool g) { return g; });
  if (segment.input.defined() && at::GradMode::is_enabled() && gradients_wanted) segment.input.requires_grad_();
  std::vector<at::Tensor> outputs = run_vertices(level, level_input(level, sequence));
  auto output_of = [&](int edge) {
    for (size_t s = 0; s < outputs.size(); ++s)
      if (layout_.levels[level][s].vertex == graph_.edges()[edge].source) return outputs[s];
    return at::Tensor();
  };
  segment.calls = run_edges(output_of, level);
  segment.sent = outgoing(graph_, layout_, level);
}

/// What the vertices of a level (or the head) read: messages and input edges, scaled, in compute dtype: [items, T, D].
at::Tensor Walk::level_input(int level, const Sequence& sequence) {
  const std::vector<Share>& shares = layout_.levels[level];
  at::Tensor x = tape_[level].input;
  auto embedded = [&](int edge) {
    for (const Share& share : shares)
      if (graph_.edges()[edge].destination == share.vertex) return embed(sequence, share.rows);
    return at::Tensor();
  };
  std::vector<EdgeCall> calls = run_edges(embedded, -1);
  if (!calls.empty()) {
    std::vector<at::Tensor> parts(shares.size());
    for (const EdgeCall& call : calls)
      for (size_t i = 0; i < call.edges.size(); ++i)
        for (size_t s = 0; s < shares.size(); ++s)
          if (graph_.edges()[call.edges[i]].destination == shares[s].vertex) parts[s] = call.output[i];
    for (size_t s = 0; s < shares.size(); ++s)
      if (!parts[s].defined())
        parts[s] = at::zeros({shares[s].rows.size(), length_, network_.backbone().hidden_size}, network_.dtype());
    at::Tensor from_input = parts.size() == 1 ? parts[0] : at::cat(parts);
    x = x.defined() ? x + from_input : from_input;
  }
  double scale = graph_.input_scale(shares.front().vertex);
  bool equal = std::all_of(shares.begin(), shares.end(),
                           [&](const Share& share) { return graph_.input_scale(share.vertex) == scale; });
  if (!equal)
    x = x * scales(level);
  else if (scale != 1)
    x = x * scale;
  return x.to(network_.dtype());
}

/// input_scale() of each item of a level whose vertices differ in it: [items, 1, 1].
at::Tensor Walk::scales(int level) const {
  std::vector<at::Tensor> columns;
  for (const Share& share : layout_.levels[level])
    columns.push_back(
        at::full({share.rows.size(), 1, 1}, graph_.input_scale(share.vertex), network_.accumulation_dtype()));
  return at::cat(columns);
}

/// One call for all vertices of a level that share weights. The output of each share: [R, T, D].
std::vector<at::Tensor> Walk::run_vertices(int level, const at::Tensor& input) {
  const std::vector<Share>& shares = layout_.levels[level];
  auto group = [&](const Share& share) -> const std::string& { return graph_.vertices()[share.vertex].group; };
  std::vector<int64_t> sizes;
  for (const Share& share : shares) sizes.push_back(share.rows.size());
  bool one_group =
      std::all_of(shares.begin(), shares.end(), [&](const Share& share) { return group(share) == group(shares[0]); });
  if (one_group) {
    at::Tensor output = network_.vertices(group(shares[0]))
                            .forward(input, steps_of_group(group(shares[0])), cached_vertex(shares[0].vertex));
    return shares.size() == 1 ? std::vector{output} : output.split_with_sizes(sizes);
  }
  std::vector<at::Tensor> parts = input.split_with_sizes(sizes);
  for (size_t s = 0; s < shares.size(); ++s)
    parts[s] = network_.vertices(group(shares[s]))
                   .forward(parts[s].contiguous(), steps_of_group(group(shares[s])), cached_vertex(shares[s].vertex));
  return parts;
}

/// Runs the edges that leave a level (-1: the input) on the vectors that `input` gives (undefined: none here), those of
/// a group that have the same number of rows as one call.
std::vector<Walk::EdgeCall> Walk::run_edges(const std::function<at::Tensor(int edge)>& input, int source_level) {
  std::vector<EdgeCall> calls;
  for (const Network::EdgeGroup& group : network_.edge_groups(source_level)) {
    struct Batch {
      StackItems items;
      std::vector<at::Tensor> inputs;
      std::vector<int> edges;
    };
    std::map<int64_t, Batch> by_rows;
    for (size_t i = 0; i < group.edges.size(); ++i) {
      at::Tensor x = input(group.edges[i]);
      if (!x.defined()) continue;
      Batch& batch = by_rows[x.size(0)];
      batch.items.push_back(static_cast<int64_t>(i));
      batch.inputs.push_back(x);
      batch.edges.push_back(group.edges[i]);
    }
    for (auto& [rows, batch] : by_rows) {
      at::Tensor x = batch.inputs.size() == 1 ? batch.inputs[0].unsqueeze(0) : at::stack(batch.inputs);
      if (batch.items.size() == group.edges.size()) batch.items.clear();
      calls.push_back(
          {batch.edges, group.module->forward(x.contiguous(), steps_, batch.items, cached_edge(batch.edges.front()))});
    }
  }
  for (size_t e = 0; e < graph_.edges().size(); ++e) {
    const Edge& edge = graph_.edges()[e];
    if (!edge.kinds.empty() || graph_.source_level(edge) != source_level) continue;
    at::Tensor x = input(static_cast<int>(e));
    if (x.defined()) calls.push_back({{static_cast<int>(e)}, x.unsqueeze(0)});
  }
  return calls;
}

/// The rows of a vertex that run here.
RowRange Walk::rows_of_vertex(int vertex) const {
  for (const Share& share : layout_.levels[graph_.level_of(vertex)])
    if (share.vertex == vertex) return share.rows;
  return {};
}

/// Adds up, for each destination row, what the edges here send to it.
std::vector<Message> Walk::collect_messages(Segment& segment) const {
  std::vector<Message> messages;
  for (const Share& share : segment.sent) messages.push_back({share, {}});
  for (const EdgeCall& call : segment.calls)
    for (size_t i = 0; i < call.edges.size(); ++i) {
      const Edge& edge = graph_.edges()[call.edges[i]];
      RowRange rows = rows_of_vertex(edge.source);
      auto message = std::find_if(messages.begin(), messages.end(), [&](const Message& m) {
        return m.share.vertex == edge.destination && m.share.rows.begin <= rows.begin && rows.end <= m.share.rows.end;
      });
      at::Tensor value = call.output[static_cast<int64_t>(i)].detach();
      if (!message->value.defined() && rows == message->share.rows) {
        message->value = value.to(network_.accumulation_dtype(), /*non_blocking=*/false, /*copy=*/true);
        continue;
      }
      if (!message->value.defined())
        message->value =
            at::zeros({message->share.rows.size(), value.size(1), value.size(2)}, network_.accumulation_dtype());
      message->value.narrow(0, rows.begin - message->share.rows.begin, rows.size()).add_(value);
    }
  return messages;
}

void Walk::deliver(const std::vector<Message>& messages) {
  for (const Message& message : messages) {
    int level = graph_.level_of(message.share.vertex);
    at::Tensor& input = tape_[level].input;
    if (!input.defined())
      input =
          at::zeros({layout_.items(level), length_, network_.backbone().hidden_size}, network_.accumulation_dtype());
    rows_of(input, message.share).add_(message.value);
  }
}

/// The rows of `share` in a tensor that holds this rank's items of the level: [rows, T, D].
at::Tensor Walk::rows_of(const at::Tensor& level_tensor, const Share& share) const {
  int64_t offset = 0;
  for (const Share& here : layout_.levels[graph_.level_of(share.vertex)]) {
    if (here.vertex == share.vertex)
      return level_tensor.narrow(0, offset + share.rows.begin - here.rows.begin, share.rows.size());
    offset += here.rows.size();
  }
  TORCH_CHECK(false, "a message arrived for a vertex that does not run here");
}

void Walk::backward(at::Tensor head_gradient) {
  int head = graph_.levels();
  if (head_gradient.defined())
    input_gradient_[head] = head_gradient.to(network_.accumulation_dtype()) * graph_.input_scale(graph_.head());
  for (int level = head - 1; level >= 0; --level) {
    if (!gradient_gaps_[level]) continue;
    Segment& segment = tape_[level];
    std::vector<Message> gradients = exchange_.backward(level, gradients_of_arrived(segment));
    run_backward(segment, gradients);
    if (segment.input.defined()) input_gradient_[level] = segment.input.grad();
    segment = {};
  }
}

std::vector<Message> Walk::gradients_of_arrived(const Segment& segment) const {
  std::vector<Message> gradients;
  for (const Share& share : segment.arrived) {
    int level = graph_.level_of(share.vertex);
    // A level that nothing trained feeds was not walked back: no source needs what it would say.
    gradients.push_back({share, input_gradient_[level].defined() ? rows_of(input_gradient_[level], share)
                                                                 : at::zeros_like(rows_of(tape_[level].input, share))});
  }
  return gradients;
}

void Walk::run_backward(Segment& segment, const std::vector<Message>& gradients) {
  torch::autograd::variable_list outputs, output_gradients;
  for (const EdgeCall& call : segment.calls) {
    if (!call.output.requires_grad()) continue;
    at::Tensor gradient = at::empty(call.output.sizes(), call.output.options());
    for (size_t i = 0; i < call.edges.size(); ++i) {
      const Edge& edge = graph_.edges()[call.edges[i]];
      RowRange rows = rows_of_vertex(edge.source);
      for (const Message& message : gradients) {
        RowRange common = intersect(rows, message.share.rows);
        if (message.share.vertex != edge.destination || common.size() == 0) continue;
        gradient[static_cast<int64_t>(i)]
            .narrow(0, common.begin - rows.begin, common.size())
            .copy_(message.value.narrow(0, common.begin - message.share.rows.begin, common.size()));
      }
    }
    outputs.push_back(call.output);
    output_gradients.push_back(gradient);
  }
  if (outputs.empty()) return;
  torch::autograd::backward(outputs, output_gradients);
  take_gradients();
}

/// Autograd leaves each use's gradient in compute dtype; they are added up in fp32 (fp64).
void Walk::take_gradients() {
  at::NoGradGuard no_grad;
  for (Parameter& parameter : network_.parameter_storage()) {
    at::Tensor& gradient = parameter.value.mutable_grad();
    if (!gradient.defined()) continue;
    parameter.gradient.add_(gradient);
    gradient.reset();
  }
}

}  // namespace lmnet
