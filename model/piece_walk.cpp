#include "model/piece_walk.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>

namespace lmnet {

PieceWalk::PieceWalk(Network& network, const Layout& layout, Exchange& exchange, const std::vector<bool>& gradient_gaps,
                     const TimeAxis& time, Sequence sequence, Cache* cache)
    : network_(network),
      graph_(network.graph()),
      layout_(layout),
      exchange_(exchange),
      gradient_gaps_(gradient_gaps),
      time_(time),
      sequence_(std::move(sequence)),
      cache_(cache),
      tape_(graph_.levels() + 1),
      input_gradient_(graph_.levels() + 1) {
  for (const std::vector<Share>& shares : layout_.levels)
    for (const Share& share : shares)
      TORCH_CHECK(time_.steps.lengths.empty() || share.rows.size() == sequence_.rows(),
                  "padding needs all rows on one rank");
}

RowRange PieceWalk::head_rows() const {
  const std::vector<Share>& shares = layout_.levels.back();
  return shares.empty() ? RowRange{} : shares.front().rows;
}

at::TensorOptions PieceWalk::accumulation() const {
  return sequence_.tokens.options().dtype(network_.accumulation_dtype());
}

/// Prefix and tokens of these rows: [R, before + T, D].
at::Tensor PieceWalk::embed(RowRange rows) const {
  const Sequence part = sequence_.narrow(rows);
  at::Tensor x = network_.embed(part);
  if (time_.before == 0) return x;
  return at::cat({network_.prefix().unsqueeze(0).expand({x.size(0), -1, -1}), x}, 1);
}

// Where nothing before the gap behind a level trains, there is nothing to record in it.

void PieceWalk::forward_vertices(int level, bool keep_graph) {
  if (level > 0) take_arrived(level - 1);
  if (layout_.levels[level].empty()) return;
  const at::AutoGradMode record(keep_graph && gradient_gaps_[level]);
  Segment& segment = tape_[level];
  const bool gradients_wanted =
      std::any_of(gradient_gaps_.begin(), gradient_gaps_.begin() + level, [](bool g) { return g; });
  if (segment.input.defined() && at::GradMode::is_enabled() && gradients_wanted) segment.input.requires_grad_();
  segment.outputs = run_vertices(level, level_input(level));
}

void PieceWalk::forward_edges(int level, bool keep_graph) {
  Segment& segment = tape_[level];
  const std::vector<Share>& shares = layout_.levels[level];
  if (!shares.empty()) {
    const at::AutoGradMode record(keep_graph && gradient_gaps_[level]);
    for (const at::Tensor& output : segment.outputs)
      segment.read.push_back(output.detach().requires_grad_(output.requires_grad()));
    const auto output_of = [&](int edge) {
      for (size_t s = 0; s < shares.size(); ++s)
        if (shares[s].vertex == graph_.edges()[edge].source) return segment.read[s];
      return at::Tensor();
    };
    segment.calls = run_edges(output_of, level);
    segment.sent = outgoing(graph_, layout_, level);
  }
  const at::NoGradGuard no_grad;
  exchange_.start_forward(level, collect_messages(segment));
  if (!keep_graph) {
    segment = {};
  } else if (!gradient_gaps_[level]) {
    segment.outputs.clear();
    segment.read.clear();
    segment.calls.clear();
  }
}

at::Tensor PieceWalk::head_input() {
  const int head = graph_.levels();
  take_arrived(head - 1);
  at::NoGradGuard no_grad;
  if (layout_.items(head) == 0)
    return at::empty({0, time_.length, network_.backbone().hidden_size}, accumulation().dtype(network_.dtype()));
  return level_input(head).detach();
}

/// Adds what came through the gap behind `level` to the levels that it goes to.
void PieceWalk::take_arrived(int level) {
  at::NoGradGuard no_grad;
  for (const Message& message : exchange_.finish_forward(level)) {
    tape_[level].arrived.push_back(message.share);
    const int to = graph_.level_of(message.share.vertex);
    at::Tensor& input = tape_[to].input;
    if (!input.defined())
      input = at::zeros({layout_.items(to), time_.length, network_.backbone().hidden_size}, accumulation());
    rows_of(input, message.share).add_(message.value);
  }
}

/// What the vertices of a level (or the head) read: messages and input edges, scaled, in compute dtype: [items, T, D].
at::Tensor PieceWalk::level_input(int level) {
  const std::vector<Share>& shares = layout_.levels[level];
  at::Tensor x = tape_[level].input;
  auto embedded = [&](int edge) {
    for (const Share& share : shares)
      if (graph_.edges()[edge].destination == share.vertex) return embed(share.rows);
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
        parts[s] = at::zeros({shares[s].rows.size(), time_.length, network_.backbone().hidden_size},
                             accumulation().dtype(network_.dtype()));
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
at::Tensor PieceWalk::scales(int level) const {
  std::vector<at::Tensor> columns;
  for (const Share& share : layout_.levels[level])
    columns.push_back(at::full({share.rows.size(), 1, 1}, graph_.input_scale(share.vertex), accumulation()));
  return at::cat(columns);
}

/// One call for all vertices of a level that share weights. The output of each share: [R, T, D].
std::vector<at::Tensor> PieceWalk::run_vertices(int level, const at::Tensor& input) {
  const std::vector<Share>& shares = layout_.levels[level];
  auto group = [&](const Share& share) -> const std::string& { return graph_.vertices()[share.vertex].group; };
  std::vector<int64_t> sizes;
  for (const Share& share : shares) sizes.push_back(share.rows.size());
  std::vector<RowRange> rows;
  for (const Share& share : shares) rows.push_back(share.rows);
  bool one_group =
      std::all_of(shares.begin(), shares.end(), [&](const Share& share) { return group(share) == group(shares[0]); });
  if (one_group) {
    at::Tensor output =
        network_.vertices(group(shares[0]))
            .forward(input, steps_for(time_.steps_of(group(shares[0])), rows), cached_vertex(shares[0].vertex));
    return shares.size() == 1 ? std::vector{output} : output.split_with_sizes(sizes);
  }
  std::vector<at::Tensor> parts = input.split_with_sizes(sizes);
  for (size_t s = 0; s < shares.size(); ++s)
    parts[s] = network_.vertices(group(shares[s]))
                   .forward(parts[s].contiguous(), steps_for(time_.steps_of(group(shares[s])), {rows[s]}),
                            cached_vertex(shares[s].vertex));
  return parts;
}

/// The steps of a call for these rows of the piece, one range after the other.
Steps PieceWalk::steps_for(const Steps& steps, const std::vector<RowRange>& rows) const {
  Steps own = steps;
  if (sequence_.documents.empty()) return own;
  for (const RowRange& range : rows)
    own.documents.insert(own.documents.end(), sequence_.documents.begin() + range.begin,
                         sequence_.documents.begin() + range.end);
  if (!sequence_.tokens.is_cpu())
    own.document_ids = document_ids(own.documents, sequence_.length(), sequence_.tokens.device());
  return own;
}

/// Runs the edges that leave a level (-1: the input) on the vectors that `input` gives (undefined: none here), those of
/// a group that have the same number of rows as one call.
std::vector<PieceWalk::EdgeCall> PieceWalk::run_edges(const std::function<at::Tensor(int edge)>& input,
                                                      int source_level) {
  std::vector<EdgeCall> calls;
  for (const Network::EdgeGroup& group : network_.edge_groups(source_level)) {
    struct Batch {
      StackItems items;
      std::vector<at::Tensor> inputs;
      std::vector<int> edges;
      std::vector<RowRange> rows;
    };
    std::map<int64_t, Batch> by_rows;
    for (size_t i = 0; i < group.edges.size(); ++i) {
      at::Tensor x = input(group.edges[i]);
      if (!x.defined()) continue;
      Batch& batch = by_rows[x.size(0)];
      batch.items.push_back(static_cast<int64_t>(i));
      batch.inputs.push_back(x);
      batch.edges.push_back(group.edges[i]);
      const Edge& edge = graph_.edges()[group.edges[i]];
      batch.rows.push_back(rows_of_vertex(source_level < 0 ? edge.destination : edge.source));
    }
    for (auto& [rows, batch] : by_rows) {
      at::Tensor x = batch.inputs.size() == 1 ? batch.inputs[0].unsqueeze(0) : at::stack(batch.inputs);
      if (batch.items.size() == group.edges.size()) batch.items.clear();
      calls.push_back({batch.edges, group.module->forward(x.contiguous(), steps_for(time_.steps, batch.rows),
                                                          batch.items, cached_edge(batch.edges.front()))});
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
RowRange PieceWalk::rows_of_vertex(int vertex) const {
  for (const Share& share : layout_.levels[graph_.level_of(vertex)])
    if (share.vertex == vertex) return share.rows;
  return {};
}

/// Adds up, for each destination row, what the edges here send to it.
std::vector<Message> PieceWalk::collect_messages(const Segment& segment) const {
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
        message->value = at::zeros({message->share.rows.size(), value.size(1), value.size(2)}, accumulation());
      message->value.narrow(0, rows.begin - message->share.rows.begin, rows.size()).add_(value);
    }
  return messages;
}

/// The rows of `share` in a tensor that holds this rank's items of the level: [rows, T, D].
at::Tensor PieceWalk::rows_of(const at::Tensor& level_tensor, const Share& share) const {
  int64_t offset = 0;
  for (const Share& here : layout_.levels[graph_.level_of(share.vertex)]) {
    if (here.vertex == share.vertex)
      return level_tensor.narrow(0, offset + share.rows.begin - here.rows.begin, share.rows.size());
    offset += here.rows.size();
  }
  TORCH_CHECK(false, "a message arrived for a vertex that does not run here");
}

void PieceWalk::start_backward(at::Tensor head_gradient) {
  const int head = graph_.levels();
  if (head_gradient.defined())
    input_gradient_[head] = head_gradient.to(network_.accumulation_dtype()) * graph_.input_scale(graph_.head());
  send_gradients(head - 1);
}

void PieceWalk::backward_edges(int level) {
  if (!gradient_gaps_[level]) return;
  Segment& segment = tape_[level];
  const std::vector<Message> gradients = exchange_.finish_backward(level);
  std::vector<at::Tensor> outputs, of_outputs;
  for (const EdgeCall& call : segment.calls) {
    outputs.push_back(call.output);
    of_outputs.push_back(gradient_of(call, gradients));
  }
  run_backward(outputs, of_outputs);
  segment.calls.clear();
}

void PieceWalk::backward_vertices(int level) {
  if (gradient_gaps_[level]) {
    Segment& segment = tape_[level];
    std::vector<at::Tensor> gradients;
    for (at::Tensor& read : segment.read) gradients.push_back(std::move(read.mutable_grad()));
    segment.read.clear();
    run_backward(segment.outputs, gradients);
    if (segment.input.defined()) input_gradient_[level] = segment.input.grad();
    segment = {};
  }
  if (level > 0) send_gradients(level - 1);
}

/// The transposed exchange of the gap behind `level`.
void PieceWalk::send_gradients(int level) {
  if (gradient_gaps_[level]) exchange_.start_backward(level, gradients_of_arrived(tape_[level]));
}

std::vector<Message> PieceWalk::gradients_of_arrived(const Segment& segment) const {
  std::vector<Message> gradients;
  for (const Share& share : segment.arrived) {
    int level = graph_.level_of(share.vertex);
    // A level that nothing trained feeds was not walked back: no source needs what it would say.
    gradients.push_back({share, input_gradient_[level].defined() ? rows_of(input_gradient_[level], share)
                                                                 : at::zeros_like(rows_of(tape_[level].input, share))});
  }
  return gradients;
}

/// What came back for the output of a call: [E, R, T, D].
at::Tensor PieceWalk::gradient_of(const EdgeCall& call, const std::vector<Message>& gradients) const {
  at::Tensor gradient = at::empty(call.output.sizes(), call.output.options().requires_grad(false));
  for (size_t i = 0; i < call.edges.size(); ++i) {
    const Edge& edge = graph_.edges()[call.edges[i]];
    const RowRange rows = rows_of_vertex(edge.source);
    for (const Message& message : gradients) {
      const RowRange common = intersect(rows, message.share.rows);
      if (message.share.vertex != edge.destination || common.size() == 0) continue;
      gradient[static_cast<int64_t>(i)]
          .narrow(0, common.begin - rows.begin, common.size())
          .copy_(message.value.narrow(0, common.begin - message.share.rows.begin, common.size()));
    }
  }
  return gradient;
}

/// Walks a segment back from those of its outputs that anything trained or any input stands before. Autograd leaves
/// each use's gradient of a parameter in compute dtype; they are added up in fp32 (fp64).
void PieceWalk::run_backward(const std::vector<at::Tensor>& outputs, const std::vector<at::Tensor>& gradients) {
  torch::autograd::variable_list from, with;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!outputs[i].requires_grad() || !gradients[i].defined()) continue;
    from.push_back(outputs[i]);
    with.push_back(gradients[i]);
  }
  if (from.empty()) return;
  torch::autograd::backward(from, with);
  const at::NoGradGuard no_grad;
  for (Parameter& parameter : network_.parameter_storage()) {
    at::Tensor& gradient = parameter.value.mutable_grad();
    if (!gradient.defined()) continue;
    parameter.gradient.add_(gradient);
    gradient.reset();
  }
}

}  // namespace lmnet
