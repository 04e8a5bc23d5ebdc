#include "trainer/cost/table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "trainer/cost/step_estimate.h"
#include "trainer/describe.h"

namespace lmnet {
namespace {

/// `87 ms`, `1.25 s`, `1810 s`.
std::string duration(double seconds) {
  if (seconds < 0.9995) return fmt::format("{:.3g} ms", 1e3 * seconds);
  return seconds < 999.5 ? fmt::format("{:.3g} s", seconds) : fmt::format("{:.0f} s", seconds);
}

/// `4.1 KiB`, `52.4 MiB`, `124.4 GiB`.
std::string size(double bytes) {
  constexpr double kKiB = 1 << 10, kMiB = 1 << 20, kGiB = 1 << 30;
  if (bytes < kMiB) return bytes == 0 ? "0" : fmt::format("{:.1f} KiB", bytes / kKiB);
  return bytes < kGiB ? fmt::format("{:.1f} MiB", bytes / kMiB) : fmt::format("{:.1f} GiB", bytes / kGiB);
}

/// Ranks that have the same line at a level.
struct Alike {
  std::string line;
  std::vector<int> ranks;
};

std::vector<Alike> grouped(const StageCost& cost, size_t level, size_t vertices) {
  std::vector<Alike> groups;
  for (size_t rank = 0; rank < cost.ranks.size(); ++rank) {
    const LevelCost& here = cost.ranks[rank].levels[level];
    const std::string run = here.vertices == 0 ? "-" : fmt::format("{} of {}", here.vertices, vertices);
    std::string line = fmt::format("{:>10} {:>6} {:>12} {:>12} {:>12} {:>12}", run, here.rows,
                                   short_count(static_cast<double>(here.parameters)), size(here.activations),
                                   size(here.optimizer), size(here.messages + here.reduction));
    const auto same =
        std::find_if(groups.begin(), groups.end(), [&](const Alike& group) { return group.line == line; });
    if (same == groups.end())
      groups.push_back({std::move(line), {static_cast<int>(rank)}});
    else
      same->ranks.push_back(static_cast<int>(rank));
  }
  return groups;
}

std::string level_lines(const ModelSpec& spec, const StageCost& cost) {
  std::string text = fmt::format("  {:<6} {:<14} {:>10} {:>6} {:>12} {:>12} {:>12} {:>12}\n", "level", "ranks",
                                 "vertices", "rows", "parameters", "activations", "optimiser", "sent a step");
  const int head = spec.graph.levels(), ranks = static_cast<int>(cost.ranks.size());
  for (int level = 0; level <= head; ++level)
    for (const Alike& group : grouped(cost, level, spec.graph.level(level).size()))
      text += fmt::format("  {:<6} {:<14} {}\n", level == head ? "head" : std::to_string(level),
                          rank_list(group.ranks, ranks), group.line);
  return text;
}

std::string memory_line(const StageCost& cost, const DeviceSpec& device) {
  const int rank = cost.fullest();
  const MemoryCost& memory = cost.ranks[rank].memory;
  return fmt::format(
      "  memory of rank {}, the fullest: {} of {} · weights {}, gradients {}, optimiser {}, activations {}, "
      "working {}\n",
      rank, size(memory.total()), size(device.memory - device.reserved), size(memory.weights), size(memory.gradients),
      size(memory.optimizer), size(memory.activations), size(memory.working));
}

/// What a rank keeps of a checkpoint in host memory while it is written beside the training.
std::string copy_line(const Config& config, const StageCost& cost, int replicas) {
  if (!config.checkpoint.async || config.checkpoint.ahead == 0) return "";
  const MemoryCost& memory = cost.ranks[cost.fullest()].memory;
  const double optimizer = config.parallel.zero == 0 ? memory.optimizer / replicas : memory.optimizer;
  return fmt::format("  beside it, while a checkpoint is written: a copy of about {} in host memory\n",
                     size(memory.weights / replicas + optimizer));
}

std::string speed_lines(const Plan& plan, const StageCost& cost, const StepEstimate& estimate,
                        const DeviceSpec& device) {
  const double ideal = cost.ideal_speed_up();
  std::string text = fmt::format("  speed-up over one rank: ideal {:.4g}", ideal * plan.data_parallel());
  if (plan.data_parallel() > 1) text += fmt::format(" ({:.4g} of {} in a replica)", ideal, plan.vertex_parallel());
  text += fmt::format(" · expected {:.3g}\n", estimate.speed_up);
  return text + fmt::format(
                    "  on {} ({:g} GB/s to other hosts, {:g} GB/s inside, {} a host): {} a step · {}/s\n"
                    "  products {} · exchange {} and reduction {}, exposed {} · update {}\n",
                    device.name, device.link / 1e9, device.local_link / 1e9, counted(device.ranks_per_host, "rank"),
                    duration(estimate.seconds), short_count(estimate.tokens_per_s, "t"), duration(estimate.compute),
                    duration(estimate.exchange), duration(estimate.reduction), duration(estimate.exposed),
                    duration(estimate.update));
}

/// Another layout of the same run, and what it takes.
struct Choice {
  std::string keys;
  int changes;
  double bytes;
};

/// Smaller micro-batches, wider replicas and sharded optimiser states, alone and together.
std::vector<Choice> choices(const Config& config, const ModelSpec& spec, int ranks, const Trains& trains, bool gpu) {
  std::vector<Choice> all;
  const int64_t now = step_shape(config, ranks / config.parallel.vertex, gpu).rows;
  for (int vertex = config.parallel.vertex; vertex <= ranks; vertex *= 2)
    for (int64_t rows = now; rows >= 1; rows /= 2) {
      if (ranks % vertex != 0 || config.train.global_batch % (rows * (ranks / vertex)) != 0) continue;
      if (config.parallel.data && *config.parallel.data != ranks / vertex) continue;
      Config other = config;
      other.parallel.vertex = vertex;
      other.train.micro_batch = rows;
      other.parallel.zero = 1;
      std::vector<std::string> keys;
      if (rows != now) keys.push_back(fmt::format("train.micro_batch={}", rows));
      if (vertex != config.parallel.vertex) keys.push_back(fmt::format("parallel.vertex={}", vertex));
      if (config.parallel.zero == 0) keys.push_back("parallel.zero=1");
      if (keys.empty()) continue;
      const Plan plan(spec.graph, vertex, ranks / vertex, trains, spec.shape.tied());
      const StageCost cost = cost_of(spec, plan, trains, step_shape(other, ranks / vertex, gpu));
      all.push_back({fmt::format("{}", fmt::join(keys, " ")), static_cast<int>(keys.size()),
                     cost.ranks[cost.fullest()].memory.total()});
    }
  return all;
}

/// Says so where the fullest rank does not fit, and which layout would: the one with fewest changes, then the fullest.
std::string warning(const Config& config, const ModelSpec& spec, int ranks, const Trains& trains, const StageCost& cost,
                    const DeviceSpec& device) {
  const double room = device.memory - device.reserved, needed = cost.ranks[cost.fullest()].memory.total();
  if (needed <= room) return "";
  std::string text = fmt::format("  warning: {} do not fit into the {} of {}", gib(needed), gib(room), device.name);
  std::vector<Choice> all = choices(config, spec, ranks, trains, device.gpu());
  const auto least =
      std::min_element(all.begin(), all.end(), [](const Choice& a, const Choice& b) { return a.bytes < b.bytes; });
  if (all.empty() || least->bytes > room) {
    if (!all.empty() && least->bytes < needed) text += fmt::format(", {} with {}", gib(least->bytes), least->keys);
    return text + ": train less of the network, shorten its sequences, or take a larger device\n";
  }
  std::erase_if(all, [&](const Choice& choice) { return choice.bytes > room; });
  std::sort(all.begin(), all.end(), [](const Choice& a, const Choice& b) {
    return std::pair(a.changes, -a.bytes) < std::pair(b.changes, -b.bytes);
  });
  constexpr size_t kNamed = 3;
  std::vector<std::string> named;
  for (size_t i = 0; i < std::min(kNamed, all.size()) && all[i].changes == all.front().changes; ++i)
    named.push_back(fmt::format("{} ({})", all[i].keys, gib(all[i].bytes)));
  return text + fmt::format("; it would with {}\n", fmt::join(named, " or "));
}

}  // namespace

std::string rank_list(const std::vector<int>& ranks, int size) {
  constexpr size_t kRanges = 2;
  std::vector<std::string> ranges;
  for (size_t first = 0; first < ranks.size();) {
    size_t last = first;
    while (last + 1 < ranks.size() && ranks[last + 1] == ranks[last] + 1) ++last;
    ranges.push_back(first == last ? std::to_string(ranks[first]) : fmt::format("{}-{}", ranks[first], ranks[last]));
    first = last + 1;
  }
  if (ranges.size() <= kRanges) return fmt::format("{}", fmt::join(ranges, ", "));
  bool even = true;
  for (size_t i = 2; i < ranks.size(); ++i) even = even && ranks[i] - ranks[i - 1] == ranks[1] - ranks[0];
  return even ? fmt::format("{}, {}, … {}", ranks[0], ranks[1], ranks.back())
              : fmt::format("{} of {}", ranks.size(), size);
}

std::string stage_table(const Config& config, const ModelSpec& spec, int ranks, const StageConfig& stage,
                        const DeviceSpec& device) {
  const Trains trains = parse_trains(stage);
  const int replicas = ranks / config.parallel.vertex;
  const Plan plan(spec.graph, config.parallel.vertex, replicas, trains, spec.shape.tied());
  const StepShape step = step_shape(config, replicas, device.gpu());
  const StageCost cost = cost_of(spec, plan, trains, step);
  const StepEstimate estimate = estimate_step(spec, plan, trains, step, cost, device);
  return fmt::format("stage {}: {}  in {}, {} a step · {} a token\n", stage.name, plan.describe(step.rows),
                     counted(std::ssize(cost.pieces), "piece"), counted(step.micro_batches, "forward"),
                     short_count(training_flops_per_token(spec, trains, step.tokens), "FLOP")) +
         level_lines(spec, cost) + memory_line(cost, device) + copy_line(config, cost, replicas) +
         speed_lines(plan, cost, estimate, device) + warning(config, spec, ranks, trains, cost, device);
}

}  // namespace lmnet
