#include "tests/trainer/agreement.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <ostream>
#include <set>

#include "parallel/thread_communicator.h"
#include "tests/trainer/random_cases.h"

namespace lmnet::testing {
namespace {

constexpr int64_t kVocabulary = 13, kLength = 5;
constexpr uint64_t kSeed = 7;

constexpr Trains kEverything{true, true, true, true};
constexpr Trains kTiedEverything{true, true, true, false};
constexpr Trains kAllAndPrefix{true, true, true, true, true};
constexpr Trains kEdges{.edges = true};
constexpr Trains kEdgesAndVertices{.edges = true, .vertices = true};
constexpr Trains kVertices{.vertices = true};
constexpr Trains kEmbeddings{.embeddings = true};
constexpr Trains kHead{.head = true};

/// Skips over one and over two levels, into the head, from the input to a later level; a level whose vertices have
/// unlike numbers of messages; an edge without weights.
Graph skip_graph(const GraphOptions& options) {
  return Graph::explicit_graph({{"a", ""}, {"b", ""}, {"c", ""}, {"d", ""}, {"e", ""}},
                               {{"input", "a"},
                                {"a", "b"},
                                {"a", "c"},
                                {"input", "c", EdgeKinds{}},
                                {"b", "d"},
                                {"c", "d", EdgeKinds{}},
                                {"a", "d"},
                                {"input", "d", EdgeKinds{EdgeKind::block}},
                                {"d", "e"},
                                {"a", "e"},
                                {"e", "head"},
                                {"b", "head"}},
                               options);
}

at::Tensor random_integers(int64_t below, int64_t rows, uint64_t seed) {
  at::Tensor numbers = at::empty({rows, kLength}, at::kLong);
  uint64_t state = seed * 0x9e3779b97f4a7c15ull + 1;
  int64_t* out = numbers.data_ptr<int64_t>();
  for (int64_t i = 0; i < numbers.numel(); ++i) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    out[i] = static_cast<int64_t>((state >> 33) % static_cast<uint64_t>(below));
  }
  return numbers;
}

at::Tensor mask_of(const Case& run, uint64_t seed) {
  at::Tensor learn = at::ones({run.rows, kLength}, at::kBool);
  if (run.mask == Mask::none) learn.zero_();
  if (run.mask == Mask::unequal) {
    learn.copy_(random_integers(3, run.rows, seed) > 0);
    for (int64_t row = 0; row < run.rows; row += 4) learn[row].fill_(row % 8 == 0);
  }
  if (run.mask == Mask::every_second_row)
    for (int64_t row = 1; row < run.rows; row += 2) learn[row].fill_(false);
  return learn;
}

/// Rows of one document, of several, of one for each token.
DocumentStarts documents_of(const Case& run, int update) {
  DocumentStarts documents(run.documents ? run.rows : 0, {0});
  for (size_t row = 0; row < documents.size(); ++row)
    for (int64_t i = 1; i < kLength; ++i)
      if ((row + update + i * i) % (1 + row % 4) == 0) documents[row].push_back(i);
  return documents;
}

double largest(const at::Tensor& tensor) {
  return tensor.numel() == 0 ? 0 : tensor.abs().max().to(at::kDouble).item<double>();
}

/// Largest difference over largest value; absolute where the reference is zero, as the gradient of a key's bias without
/// rotary positions is but for rounding. NaN counts as infinitely far.
double error_of(const at::Tensor& got, const at::Tensor& expected) {
  double scale = largest(expected), difference = largest(got.to(at::kDouble) - expected.to(at::kDouble));
  double error = scale > 1e-14 ? difference / scale : difference;
  return std::isfinite(error) ? error : INFINITY;
}

void compare(const char* what, const std::vector<double>& got, const std::vector<double>& expected, double tolerance,
             std::vector<std::string>& found) {
  if (got.size() != expected.size()) found.push_back(fmt::format("{}: {} updates", what, got.size()));
  for (size_t u = 0; u < std::min(got.size(), expected.size()); ++u) {
    double error = std::abs(got[u] - expected[u]) / (expected[u] != 0 ? std::abs(expected[u]) : 1);
    if (!(error <= tolerance))
      found.push_back(
          fmt::format("{} of update {}: {} instead of {}, error {:.1e}", what, u + 1, got[u], expected[u], error));
  }
}

/// The grids with every choice of sharding and overlap, or (pairwise) each with one of them, so that neighbours differ.
std::vector<Grid> with_choices(const std::vector<Grid>& grids, bool all, size_t shift) {
  constexpr std::array<EngineOptions, 4> choices = {{{true, true}, {false, false}, {false, true}, {true, false}}};
  std::vector<Grid> chosen;
  for (size_t g = 0; g < grids.size(); ++g)
    for (size_t c = 0; c < choices.size(); ++c)
      if (all || c == (g + shift) % choices.size()) chosen.push_back({grids[g].data, grids[g].vertex, choices[c]});
  return chosen;
}

/// Topologies with everything trained: the matrix of the design.
std::vector<Case> matrix(at::ScalarType dtype) {
  std::vector<Case> cases;
  for (const char* topology : {"1", "1-2-1", "1-4-4-4-1", "1-3-2-1", "2-3-1", "skip"})
    cases.push_back(
        {.name = fmt::format("{} {}", topology, at::toString(dtype)), .topology = topology, .dtype = dtype});
  return cases;
}

/// What is special about a batch, a graph or a stage.
std::vector<Case> special_cases() {
  const GraphOptions separate{.sharing = Sharing::none};
  return {
      {.name = "fewer rows than ranks", .topology = "1-2-1", .rows = 1, .micro_batch = 1, .mask = Mask::all},
      {.name = "micro-batch 1", .topology = "1-2-1", .rows = 4, .micro_batch = 1},
      {.name = "tail smaller than the group", .topology = "2-3-1", .rows = 10, .micro_batch = 4},
      {.name = "a replica without targets", .topology = "1-2-1", .mask = Mask::every_second_row},
      {.name = "no target at all", .topology = "1-2-1", .stages = {{kEverything, 5}}, .mask = Mask::none},
      {.name = "output mean", .topology = "1-2", .options = {.output = Output::mean}},
      {.name = "output sum, aggregation sum",
       .topology = "2-2",
       .options = {.aggregation = Aggregation::sum, .output = Output::sum}},
      {.name = "input edges", .topology = "2-3-1", .options = {.input_edge = {EdgeKind::block}}},
      {.name = "separate weights", .topology = "1-4-4-4-1", .options = separate},
      {.name = "separate weights with skips", .topology = "skip", .options = separate},
      {.name = "weights of each level", .topology = "2-3-1", .options = {.sharing = Sharing::level}},
      {.name = "weights of groups", .topology = "groups", .options = {.sharing = Sharing::groups}},
      {.name = "edges only", .topology = "1-4-4-4-1", .stages = {{kEdges}}},
      {.name = "edges only with skips", .topology = "skip", .stages = {{kEdges}}},
      {.name = "edges and vertices", .topology = "2-3-1", .stages = {{kEdgesAndVertices}}},
      {.name = "vertices only", .topology = "1-2-1", .stages = {{kVertices}}},
      {.name = "embeddings only", .topology = "2-3-1", .stages = {{kEmbeddings}}},
      {.name = "head only", .topology = "1-2-1", .stages = {{kHead}}},
      {.name = "tied head", .topology = "1-2-1", .tied = true, .stages = {{kTiedEverything}}},
      {.name = "tied frozen head", .topology = "2-3-1", .tied = true, .stages = {{kEdges}}},
      {.name = "tied head, separate weights",
       .topology = "2-3-1",
       .options = separate,
       .tied = true,
       .stages = {{kTiedEverything}}},
      {.name = "chains of every kind of edge",
       .topology = "2-3-1",
       .options = {.edge = {EdgeKind::attention, EdgeKind::linear}, .input_edge = {EdgeKind::mlp}}},
      {.name = "gpt2 with prefix and residual",
       .topology = "1-2-1",
       .options = {.aggregation = Aggregation::sum,
                   .edge = {EdgeKind::attention},
                   .input_edge = {EdgeKind::attention, EdgeKind::attention},
                   .residual = true},
       .tied = true,
       .family = BackboneConfig::Family::gpt2,
       .prefix = 3,
       .stages = {{kEdges, 4}, {{true, true, true, false, true}, 8}},
       .rule = {.label_smoothing = 0.1, .epsilon = 1e-4}},
      {.name = "classes and a trained prefix",
       .topology = "2-1",
       .options = {.sharing = Sharing::none},
       .tied = true,
       .prefix = 2,
       .classes = 13,
       .stages = {{kAllAndPrefix}}},
      {.name = "documents", .topology = "1-4-4-4-1", .documents = true},
      {.name = "documents with skips and input edges",
       .topology = "skip",
       .options = {.input_edge = {EdgeKind::block}},
       .documents = true},
      {.name = "documents, gpt2 and attention",
       .topology = "2-3-1",
       .options = {.edge = {EdgeKind::attention, EdgeKind::linear}, .input_edge = {EdgeKind::attention}},
       .tied = true,
       .family = BackboneConfig::Family::gpt2,
       .stages = {{kTiedEverything}},
       .documents = true},
      {.name = "documents, separate weights, fp32",
       .topology = "2-3-1",
       .options = separate,
       .documents = true,
       .dtype = at::kFloat},
      {.name = "edges, then everything", .topology = "1-2-1", .stages = {{kEdges, 8}, {kEverything, 12}}},
      {.name = "vertices, edges, vertices",
       .topology = "2-3-1",
       .stages = {{kVertices, 6}, {kEdges, 7}, {kVertices, 7}}},
  };
}

}  // namespace

std::string Grid::name() const {
  return fmt::format("{}x{}{}{}", data, vertex, parallel.sharded ? "" : " zero 0", parallel.overlap ? "" : " in turn");
}

Tolerance tolerance_of(at::ScalarType dtype) {
  switch (dtype) {
    case at::kDouble:
      return {1e-10, 1e-10};
    case at::kFloat:
      return {1e-5, 1e-4};
    default:
      return {2e-2, INFINITY};
  }
}

NetworkShape shape_of(const Case& run) {
  BackboneConfig backbone;
  backbone.family = run.family;
  backbone.hidden_size = 8;
  backbone.intermediate_size = 12;
  backbone.blocks = 2;
  backbone.heads = 2;
  backbone.kv_heads = backbone.gpt2() ? 2 : 1;
  backbone.head_width = 4;
  backbone.vocabulary = kVocabulary;
  backbone.positions = backbone.gpt2() ? kLength : 0;
  backbone.qkv_bias = true;
  backbone.tied = run.tied;
  NetworkShape shape(backbone);
  shape.prefix = run.prefix;
  shape.classes = run.classes;
  return shape;
}

Graph graph_of(const Case& run) {
  if (run.topology == "skip") return skip_graph(run.options);
  if (run.topology.starts_with("random ")) return random_graph(std::stoull(run.topology.substr(7)), run.options);
  if (run.topology == "groups")  // a level of two groups, one of which has a vertex on another level too
    return Graph::explicit_graph(
        {{"a", "x"}, {"b", "x"}, {"c", "y"}, {"d", "y"}, {"e", "z"}},
        {{"input", "a"}, {"a", "b"}, {"a", "c"}, {"a", "d"}, {"b", "e"}, {"c", "e"}, {"d", "e"}, {"e", "head"}},
        run.options);
  return Graph::layered(run.topology, run.options);
}

Sequence global_batch(const Case& run, int update) {
  auto seed = static_cast<uint64_t>(3 * update);
  return {random_integers(kVocabulary, run.rows, seed),
          random_integers(kVocabulary, run.rows, seed + 1),
          mask_of(run, seed + 2),
          {},
          {},
          documents_of(run, update)};
}

Sequence rows_of_replica(const Sequence& batch, int replica, int replicas) {
  auto pick = [&](const at::Tensor& whole) {
    return whole.slice(0, std::min<int64_t>(replica, batch.rows()), std::nullopt, replicas).contiguous();
  };
  Sequence rows{pick(batch.tokens), pick(batch.targets), pick(batch.learn)};
  if (!batch.documents.empty())
    for (int64_t row = std::min<int64_t>(replica, batch.rows()); row < batch.rows(); row += replicas)
      rows.documents.push_back(batch.documents[row]);
  return rows;
}

std::map<Parameter::Part, double> rates(const Trains& stage) {
  std::map<Parameter::Part, double> rates;
  using enum Parameter::Part;
  for (auto [part, rate] : {std::pair{edges, 3e-3}, {vertices, 2e-3}, {embeddings, 6e-3}, {head, 4e-3}, {prefix, 5e-3}})
    if (trains(stage, part)) rates[part] = rate;
  return rates;
}

void initialize(Engine& engine) {
  engine.initialize(kSeed);
  Optimizer& optimizer = engine.optimizer();
  for (const std::string& name : optimizer.names()) {
    at::Tensor value = optimizer.value(name).to(at::kCPU, at::kDouble);
    bool drawn = optimizer.parameter(name).initial.drawn();
    at::Tensor wave = at::arange(value.numel(), at::kDouble).add(static_cast<double>(name.size())).sin();
    optimizer.assign(name, drawn ? value * 5 : value + 0.1 * wave.view(value.sizes()));
  }
}

Outcome train(const Case& run, Communicator& world, const Grid& grid, int64_t micro_batch) {
  Mesh mesh(world, grid.vertex);
  Engine engine(shape_of(run), graph_of(run), run.dtype, OptimizerConfig{}, mesh, grid.parallel);
  initialize(engine);
  Optimizer& optimizer = engine.optimizer();
  Outcome outcome;
  int update = 0;
  for (size_t s = 0; s < run.stages.size(); ++s) {
    engine.begin_stage(run.stages[s].trains);
    for (int i = 0; i < run.stages[s].updates; ++i, ++update) {
      Sequence batch = rows_of_replica(global_batch(run, update), mesh.dp_rank, mesh.dp_size);
      if (i == 0) {
        engine.gradients(batch, micro_batch, false, run.rule);
        optimizer.visit(Optimizer::Kind::gradient, [&](const std::string& name, const at::Tensor& gradient) {
          outcome.gradients[fmt::format("stage {}: {}", s + 1, name)] = gradient.clone();
        });
      }
      UpdateResult result = engine.update(
          batch, {.lr = rates(run.stages[s].trains), .clip = kClip, .micro_batch = micro_batch, .loss = run.rule});
      outcome.losses.push_back(result.loss);
      outcome.norms.push_back(result.grad_norm);
    }
  }
  optimizer.visit(Optimizer::Kind::value,
                  [&](const std::string& name, const at::Tensor& value) { outcome.values[name] = value.clone(); });
  return outcome;
}

Outcome train_alone(const Case& run) {
  auto alone = make_thread_communicators(1);
  return train(run, *alone.front(), {}, run.rows);
}

std::vector<std::string> differences(const Outcome& outcome, const Outcome& reference, Tolerance tolerance) {
  std::vector<std::string> found;
  compare("loss", outcome.losses, reference.losses, tolerance.loss, found);
  compare("grad_norm", outcome.norms, reference.norms, tolerance.gradient, found);
  for (const auto& [name, gradient] : outcome.gradients) {
    auto expected = reference.gradients.find(name);
    if (expected == reference.gradients.end()) {
      found.push_back("a gradient that one rank does not have: " + name);
      continue;
    }
    double error = error_of(gradient, expected->second);
    if (!(error <= tolerance.gradient))
      found.push_back(
          fmt::format("gradient of {}: error {:.1e} (largest value {:.1e})", name, error, largest(expected->second)));
  }
  return found;
}

void PrintTo(const Trial& trial, std::ostream* out) {
  *out << trial.run.name;
}

std::vector<Trial> trials() {
  const std::vector<Grid> every_grid = {{1, 1}, {2, 1}, {1, 2}, {2, 2}, {1, 4}, {4, 1}, {1, 3}, {1, 8}};
  const char* all = std::getenv("LMNET_ALL_TESTS");
  bool everything = all && std::string(all) == "1";
  std::vector<Trial> trials;
  auto some = [&](std::vector<Grid> grids) {
    return with_choices(everything ? every_grid : grids, everything, trials.size());
  };
  for (const Case& run : matrix(at::kDouble)) trials.push_back({run, some(every_grid)});
  for (const Case& run : matrix(at::kFloat)) trials.push_back({run, some({{2, 2}, {1, 3}})});
  for (const Case& run : special_cases()) trials.push_back({run, some({{2, 2}, {1, 4}})});
  return trials;
}

std::vector<Trial> mpi_trials(int ranks) {
  std::vector<Grid> grids;
  for (int vertex = 1; vertex <= ranks; ++vertex)
    if (ranks % vertex == 0) grids.push_back({ranks / vertex, vertex});
  std::vector<Trial> trials;
  for (const Case& run : matrix(at::kDouble)) trials.push_back({run, with_choices(grids, false, trials.size())});
  const Grid middle = grids[grids.size() / 2];
  const std::set<std::string> chosen = {"fewer rows than ranks",     "tail smaller than the group",  "no target at all",
                                        "a replica without targets", "separate weights with skips",  "tied head",
                                        "edges, then everything",    "documents, gpt2 and attention"};
  for (const Case& run : special_cases())
    if (chosen.contains(run.name)) trials.push_back({run, {middle}});
  trials.push_back({{.name = "2-3-1 in fp32", .topology = "2-3-1", .dtype = at::kFloat}, {middle}});
  return trials;
}

}  // namespace lmnet::testing
