#include "trainer/cost/model.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "trainer/cost/module.h"

namespace lmnet {
namespace {

using Part = Parameter::Part;

/// Logits that model/loss.cpp holds at once, at least those of so many positions; and bytes of the terms of a
/// reduction in parallel/stages.cpp.
constexpr int64_t kLogits = int64_t{4} << 20, kLogitsOnGpu = int64_t{64} << 20, kPositions = 64;
constexpr double kTerms = int64_t{64} << 20;
/// Tensors of many sizes come and go: so much of what is kept lies idle in the allocator (measured on CPUs).
constexpr double kFragments = 1.0 / 16;

/// What one row costs at a vertex: the edges that feed it from the input, itself, and the edges that leave it.
struct RowCost {
  double forward = 0, backward = 0;              // FLOP
  double kept = 0;                               // bytes for the backward pass
  double vertex_working = 0, edges_working = 0;  // bytes of temporaries of backward
  int64_t edge_parameters = 0;
  bool reads_text = false;  // whether an edge from the input feeds it
};

/// Fills in the costs of a stage.
class Counting {
 public:
  Counting(const ModelSpec& spec, const Plan& plan, const Trains& trains, const StepShape& step);
  StageCost run();

 private:
  RowCost row_cost(int vertex) const;
  void add_module(RowCost& row, const ModuleCost& cost, bool trained, bool behind) const;
  void count_parameters();
  void add_storage(int level, Part part, const Holders& holders, int64_t parameters);
  void count_rows(RowRange piece);
  LevelCost count_level(int rank, int level, const Layout& layout, PieceCost& most);
  LevelCost head_cost(int64_t rows) const;
  void add_share(const Share& share, LevelCost& level, RowCost& here, std::set<std::string>& groups) const;
  void count_messages(RowRange piece);
  MemoryCost memory(int rank) const;
  double backward_peak(int rank, double& activations) const;
  double loss_working(int rank) const;
  int64_t head_parameters() const { return spec_.shape.outputs() * spec_.shape.backbone.hidden_size; }
  bool head_trains() const { return spec_.shape.tied() ? trains_.embeddings : trains_.head; }

  const ModelSpec& spec_;
  const Graph& graph_;
  const Plan& plan_;
  const Trains& trains_;
  const StepShape& step_;
  int64_t length_, positions_width_;  // of a row, the prefix included; elements of a row
  int64_t width_, accumulation_;      // bytes of an element
  std::map<std::string, ModuleCost> groups_;
  std::map<EdgeKinds, ModuleCost> edges_;
  std::vector<bool> before_;  // whether what a vertex (or the head) reads depends on what trains
  std::vector<RowCost> rows_;
  StageCost stage_;

  /// By rank and level: beyond what LevelCost says.
  struct Working {
    double gradients = 0;  // bytes of weight gradients in the compute dtype that one backward leaves
    double temporaries = 0, exchange = 0;
  };
  std::vector<std::vector<Working>> working_;
  std::vector<double> scratch_;  // by rank: of the reduction
};

Counting::Counting(const ModelSpec& spec, const Plan& plan, const Trains& trains, const StepShape& step)
    : spec_(spec),
      graph_(spec.graph),
      plan_(plan),
      trains_(trains),
      step_(step),
      length_(spec.shape.prefix + step.tokens),
      positions_width_(length_ * spec.shape.backbone.hidden_size),
      width_(static_cast<int64_t>(at::elementSize(spec.dtype))),
      accumulation_(spec.dtype == at::kDouble ? 8 : 4),
      before_(graph_.vertices().size() + 1, false) {
  for (const Vertex& vertex : graph_.vertices())
    if (!groups_.contains(vertex.group)) groups_[vertex.group] = vertex_cost(spec.shape.of(vertex.group), length_);
  for (const Edge& edge : graph_.edges()) {
    if (!edges_.contains(edge.kinds)) edges_[edge.kinds] = edge_cost(edge.kinds, spec.shape.backbone, length_);
    const bool behind =
        edge.source == Graph::input ? trains.embeddings || trains.prefix : trains.vertices || before_[edge.source];
    if (behind || (trains.edges && !edge.kinds.empty())) before_[edge.destination] = true;
  }
  for (int vertex = 0; vertex < graph_.head(); ++vertex) rows_.push_back(row_cost(vertex));
  stage_.ranks.assign(plan.vertex_parallel(), {std::vector<LevelCost>(graph_.levels() + 1), {}});
  working_.assign(plan.vertex_parallel(), std::vector<Working>(graph_.levels() + 1));
  scratch_.assign(plan.vertex_parallel(), 0);
}

/// `behind`: whether the module's input depends on what trains.
void Counting::add_module(RowCost& row, const ModuleCost& cost, bool trained, bool behind) const {
  const auto positions = static_cast<double>(length_);
  row.forward += positions * cost.forward_flops();
  row.backward += positions * cost.backward_flops(trained, behind || trained);
  if (behind || trained) row.kept += positions * cost.saved_bytes(trained, width_, accumulation_);
}

RowCost Counting::row_cost(int vertex) const {
  RowCost row;
  const auto bytes = static_cast<double>(length_ * width_);
  for (const int e : graph_.edges_into(vertex)) {
    const Edge& edge = graph_.edges()[e];
    if (edge.source != Graph::input) continue;
    add_module(row, edges_.at(edge.kinds), trains_.edges, trains_.embeddings || trains_.prefix);
    row.edge_parameters += edges_.at(edge.kinds).parameters;
    row.reads_text = true;
  }
  const ModuleCost& own = groups_.at(graph_.vertices()[vertex].group);
  add_module(row, own, trains_.vertices, before_[vertex]);
  row.vertex_working = own.temporaries * bytes;
  const bool behind = trains_.vertices || before_[vertex];
  for (const int e : graph_.edges_from(vertex)) {
    const Edge& edge = graph_.edges()[e];
    const ModuleCost& cost = edges_.at(edge.kinds);
    add_module(row, cost, trains_.edges, behind);
    row.edge_parameters += cost.parameters;
    // The walk holds what left the vertex until its gradient has come, and puts that beside it.
    const auto message = static_cast<double>(positions_width_ * width_);
    if (behind || (trains_.edges && !edge.kinds.empty())) row.kept += message;
    row.edges_working += message + cost.temporaries * bytes;
  }
  return row;
}

void Counting::add_storage(int level, Part part, const Holders& holders, int64_t parameters) {
  const bool trained = lmnet::trains(trains_, part);
  const auto count = static_cast<double>(parameters), share = static_cast<double>(holders.size());
  const double copies = plan_.data_parallel() * share;
  const double states = 2.0 * static_cast<double>(accumulation_) + (width_ < accumulation_ ? 4.0 : 0.0);
  // Over the data-parallel group first, then over the holders: each passes on what it does not own, sharded of what
  // the first left to it only.
  const double data = plan_.data_parallel();
  const double handed = step_.sharded ? (copies - 1) / copies : (data - 1) / data + (share - 1) / share;
  const double back = static_cast<double>(step_.sharded ? width_ : accumulation_);
  for (const int rank : holders) {
    LevelCost& here = stage_.ranks[rank].levels[level];
    here.parameters += parameters;
    if (!trained) continue;
    here.trainable += parameters;
    here.gradients += count * static_cast<double>(accumulation_);
    here.optimizer += count * states / (step_.sharded ? copies : 1);
    here.reduced += count * handed;
    here.reduction += count * handed * (static_cast<double>(accumulation_) + back);
    if (copies > 1)
      scratch_[rank] = std::max(scratch_[rank], std::min(count * static_cast<double>(accumulation_), kTerms));
  }
}

void Counting::count_parameters() {
  const NetworkShape& shape = spec_.shape;
  const Placement& placement = plan_.placement();
  for (const auto& [group, holders] : placement.groups) {
    int first = graph_.levels();
    for (const Vertex& vertex : graph_.vertices())
      if (vertex.group == group) first = std::min(first, vertex.level);
    add_storage(first, Part::vertices, holders, groups_.at(group).parameters);
  }
  // Alike edges of a gap stand in one storage, as in model/network.cpp.
  struct Stack {
    int level;
    int64_t edges = 0;
  };
  std::map<std::tuple<int, EdgeKinds, Holders>, Stack> stacks;
  for (size_t e = 0; e < graph_.edges().size(); ++e) {
    const Edge& edge = graph_.edges()[e];
    if (edge.kinds.empty()) continue;
    const int source = graph_.source_level(edge), level = source < 0 ? graph_.level_of(edge.destination) : source;
    Stack& stack = stacks.try_emplace({source, edge.kinds, placement.edges[e]}, level).first->second;
    stack.level = std::min(stack.level, level);
    ++stack.edges;
  }
  for (const auto& [key, stack] : stacks) {
    const auto& [source, kinds, holders] = key;
    const ModuleCost& cost = edges_.at(kinds);
    add_storage(stack.level, Part::edges, holders, stack.edges * cost.parameters);
  }
  add_storage(0, Part::embeddings, placement.embedding, embedding_parameters(shape));
  if (shape.prefix > 0) add_storage(0, Part::prefix, placement.embedding, shape.prefix * shape.backbone.hidden_size);
  if (!shape.tied()) add_storage(graph_.levels(), Part::head, placement.head, head_parameters());
}

void Counting::add_share(const Share& share, LevelCost& level, RowCost& here, std::set<std::string>& groups) const {
  const auto rows = static_cast<double>(share.rows.size());
  const RowCost& row = rows_[share.vertex];
  ++level.vertices;
  level.rows += share.rows.size();
  level.forward_flops += rows * row.forward;
  level.backward_flops += rows * row.backward;
  level.activations += rows * row.kept;
  here.vertex_working += rows * row.vertex_working;
  here.edges_working += rows * row.edges_working;
  here.edge_parameters += row.edge_parameters;
  here.reads_text = here.reads_text || row.reads_text;
  groups.insert(graph_.vertices()[share.vertex].group);
}

/// What one rank runs of one piece in one level.
LevelCost Counting::count_level(int rank, int level, const Layout& layout, PieceCost& most) {
  LevelCost part;
  RowCost here;
  std::set<std::string> groups;
  const std::vector<Share>& shares = layout.levels[level];
  if (level < graph_.levels())
    for (const Share& share : shares) add_share(share, part, here, groups);
  else if (!shares.empty())
    part = head_cost(shares.front().rows.size());
  if (level > 0) part.activations += static_cast<double>(part.rows * positions_width_ * accumulation_);

  int64_t vertices = 0;
  for (const std::string& group : groups) vertices += groups_.at(group).parameters;
  const int64_t tables = trains_.embeddings && here.reads_text ? embedding_parameters(spec_.shape) : 0;
  const int64_t trained = (trains_.vertices ? vertices : 0) + (trains_.edges ? here.edge_parameters : 0) + tables;
  Working& working = working_[rank][level];
  working.gradients = std::max(working.gradients, static_cast<double>(trained * width_));
  working.temporaries = std::max({working.temporaries, here.vertex_working, here.edges_working});
  const int64_t head = level == graph_.levels() && part.rows > 0 ? head_parameters() : 0;
  most.forward_flops = std::max(most.forward_flops, part.forward_flops);
  most.backward_flops = std::max(most.backward_flops, part.backward_flops);
  most.weight_bytes =
      std::max(most.weight_bytes, static_cast<double>((vertices + here.edge_parameters + head) * width_));
  return part;
}

LevelCost Counting::head_cost(int64_t rows) const {
  LevelCost cost;
  cost.rows = rows;
  const double products = static_cast<double>(rows * step_.tokens) * static_cast<double>(head_parameters());
  cost.forward_flops = 2 * products;
  cost.backward_flops = products * ((before_.back() ? 2 : 0) + (head_trains() ? 2 : 0));
  return cost;
}

/// What the ranks run of one piece.
void Counting::count_rows(RowRange piece) {
  std::vector<PieceCost>& most = stage_.pieces.emplace_back(graph_.levels() + 1);
  for (int rank = 0; rank < plan_.vertex_parallel(); ++rank) {
    const Layout layout = plan_.layout(rank, piece.size());
    for (int l = 0; l <= graph_.levels(); ++l) {
      const LevelCost part = count_level(rank, l, layout, most[l]);
      LevelCost& all = stage_.ranks[rank].levels[l];
      all.vertices = std::max(all.vertices, part.vertices);
      all.rows += part.rows;
      all.forward_flops += part.forward_flops;
      all.backward_flops += part.backward_flops;
      all.activations += part.activations;
      stage_.forward_flops += part.forward_flops;
      stage_.backward_flops += part.backward_flops;
    }
  }
}

/// Bytes of the messages of one piece: sent, and held until they were added up at the other end.
void Counting::count_messages(RowRange piece) {
  const double steps = static_cast<double>(step_.micro_batches);
  for (int l = 0; l < graph_.levels(); ++l)
    for (const Route& route : plan_.routes(l, piece.size())) {
      const auto elements = static_cast<double>(route.share.rows.size() * positions_width_);
      // Added up in the accumulation dtype where they come from.
      working_[route.from][l].exchange += elements * static_cast<double>(accumulation_);
      if (route.from == route.to) continue;
      const double bytes = elements * static_cast<double>(width_);
      working_[route.from][l].exchange += bytes;
      working_[route.to][l].exchange += bytes;
      stage_.ranks[route.from].levels[l].messages += steps * bytes;
      if (plan_.carries_gradients(l)) stage_.ranks[route.to].levels[l].messages += steps * bytes;
    }
}

/// The head's rows of a piece: what it reads, its gradient in both dtypes, logits of a chunk, a weight's gradient.
double Counting::loss_working(int rank) const {
  const double rows =
      static_cast<double>(stage_.ranks[rank].levels.back().rows) / static_cast<double>(stage_.pieces.size());
  const int64_t chunk = std::max(step_.gpu ? kLogitsOnGpu : kLogits, kPositions * spec_.shape.outputs());
  const double logits =
      std::min(rows * static_cast<double>(step_.tokens * spec_.shape.outputs()), static_cast<double>(chunk));
  const double weight = head_trains() && rows > 0 ? static_cast<double>(head_parameters()) : 0;
  return rows * static_cast<double>(positions_width_ * (2 * width_ + accumulation_)) +
         (logits + weight) * static_cast<double>(width_);
}

/// The most that a rank holds beside its static memory while it walks back, level by level: what the levels before
/// keep, what this one keeps or leaves as weight gradients, gradients of the inputs behind it, and temporaries.
double Counting::backward_peak(int rank, double& activations) const {
  const std::vector<LevelCost>& levels = stage_.ranks[rank].levels;
  const auto input = static_cast<double>(positions_width_ * accumulation_);
  double kept = 0;
  for (const LevelCost& level : levels) kept += level.activations;
  double behind = static_cast<double>(levels.back().rows) * input, most = loss_working(rank) + kept;
  activations = kept;
  for (int l = graph_.levels() - 1; l >= 0; --l) {
    const Working& here = working_[rank][l];
    const double before = kept - levels[l].activations;
    const double moving = here.exchange + here.temporaries;
    for (const double held : {kept, before + here.gradients}) {
      if (held + behind + moving > most) {
        most = held + behind + moving;
        activations = held;
      }
    }
    kept = before;
    if (plan_.carries_gradients(l)) behind += static_cast<double>(levels[l].rows) * input;
  }
  return most;
}

MemoryCost Counting::memory(int rank) const {
  MemoryCost memory;
  for (const LevelCost& level : stage_.ranks[rank].levels) {
    memory.weights += static_cast<double>(level.parameters) * static_cast<double>(width_);
    memory.gradients += level.gradients;
    memory.optimizer += level.optimizer;
  }
  double activations = 0;
  const double peak = backward_peak(rank, activations);
  memory.activations = activations;
  // The scratch is taken when all activations are gone, but in one piece, which they seldom left.
  memory.working = peak - activations + kFragments * activations + scratch_[rank];
  return memory;
}

StageCost Counting::run() {
  count_parameters();
  for (const RowRange piece : plan_.pieces(step_.rows, step_.overlap)) {
    count_rows(piece);
    count_messages(piece);
  }
  for (int rank = 0; rank < plan_.vertex_parallel(); ++rank) stage_.ranks[rank].memory = memory(rank);
  return std::move(stage_);
}

}  // namespace

StepShape step_shape(const Config& config, int replicas, bool gpu) {
  StepShape step;
  const int64_t share = config.train.global_batch / replicas;
  step.rows = config.train.micro_batch > 0 ? config.train.micro_batch : share;
  step.micro_batches = share / std::max<int64_t>(1, step.rows);
  step.tokens = config.data.sequence_length;
  step.overlap = config.parallel.overlap;
  step.sharded = config.parallel.zero > 0;
  step.gpu = gpu;
  return step;
}

double StageCost::ideal_speed_up() const {
  double slowest = 0;
  for (const std::vector<PieceCost>& piece : pieces)
    for (const PieceCost& level : piece) slowest += level.forward_flops + level.backward_flops;
  return slowest > 0 ? (forward_flops + backward_flops) / slowest : 1;
}

int StageCost::fullest() const {
  const auto most = std::max_element(ranks.begin(), ranks.end(), [](const RankCost& a, const RankCost& b) {
    return a.memory.total() < b.memory.total();
  });
  return static_cast<int>(most - ranks.begin());
}

StageCost cost_of(const ModelSpec& spec, const Plan& plan, const Trains& trains, const StepShape& step) {
  return Counting(spec, plan, trains, step).run();
}

}  // namespace lmnet
