#include "tests/trainer/random_cases.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <random>

namespace lmnet::testing {
namespace {

/// The same numbers everywhere: the standard's distributions are not.
class Dice {
 public:
  explicit Dice(uint64_t seed) : generator_(seed) {}
  /// 0 … sides - 1.
  int roll(int sides) { return static_cast<int>(generator_() % static_cast<uint64_t>(sides)); }
  bool coin() { return roll(2) == 0; }

 private:
  std::mt19937_64 generator_;
};

EdgeKinds random_kinds(Dice& dice) {
  switch (dice.roll(4)) {
    case 0:
      return {};
    case 1:
      return {EdgeKind::linear};
    case 2:
      return {EdgeKind::mlp, EdgeKind::linear};
    default:
      return {EdgeKind::block};
  }
}

}  // namespace

Graph random_graph(uint64_t seed, const GraphOptions& options) {
  Dice dice(seed);
  std::vector<ExplicitVertex> vertices;
  std::vector<ExplicitEdge> edges;
  std::vector<std::string> before;  // of all levels so far
  const int levels = 1 + dice.roll(4);
  for (int level = 0; level < levels; ++level) {
    std::vector<std::string> here;
    for (int i = 0, width = 1 + dice.roll(3); i < width; ++i) {
      const std::string name = fmt::format("v{}_{}", level, i);
      vertices.push_back({name, dice.roll(3) == 0 ? fmt::format("group{}", dice.roll(2)) : ""});
      if (before.empty() || dice.roll(4) == 0)
        edges.push_back({"input", name, dice.coin() ? EdgeKinds{} : EdgeKinds{EdgeKind::linear}});
      for (const std::string& source : before)
        if (dice.roll(3) > 0 || source == before.back()) edges.push_back({source, name, random_kinds(dice)});
      here.push_back(name);
    }
    before.insert(before.end(), here.begin(), here.end());
  }
  for (const std::string& source : before)
    if (source == before.back() || dice.roll(3) == 0) edges.push_back({source, "head"});
  return Graph::explicit_graph(std::move(vertices), edges, options);
}

Case random_case(uint64_t seed) {
  Dice dice(seed * 7919 + 1);
  Case run{.name = fmt::format("random {}", seed), .topology = fmt::format("random {}", seed)};
  constexpr std::array<Sharing, 3> sharings = {Sharing::all, Sharing::level, Sharing::groups};
  run.options.sharing = sharings[dice.roll(3)];
  run.options.aggregation = dice.coin() ? Aggregation::sum : Aggregation::mean;
  run.tied = dice.coin();
  run.prefix = dice.roll(3) == 0 ? 2 : 0;
  run.rows = 4 * (1 + dice.roll(3));
  run.micro_batch = 1 + dice.roll(4);
  run.mask = dice.coin() ? Mask::unequal : Mask::all;
  run.stages.clear();
  const Graph graph = random_graph(seed, run.options);
  const bool edges_have_weights =
      std::ranges::any_of(graph.edges(), [](const Edge& edge) { return !edge.kinds.empty(); });
  for (int stage = 0, stages = 1 + dice.roll(2); stage < stages; ++stage)
    run.stages.push_back({{.edges = true,
                           .vertices = dice.coin() || !edges_have_weights,
                           .embeddings = dice.coin(),
                           .head = !run.tied && dice.coin(),
                           .prefix = run.prefix > 0 && dice.coin()},
                          3});
  return run;
}

Grid random_grid(uint64_t seed) {
  Dice dice(seed * 104729 + 2);
  const int vertex = 1 + dice.roll(5);
  return {vertex <= 2 ? 1 + dice.roll(4) : vertex <= 4 ? 1 + dice.roll(2) : 1, vertex, {dice.coin(), dice.coin()}};
}

}  // namespace lmnet::testing
