#include "trainer/cost/model.h"

#include <gmock/gmock.h>

#include <chrono>
#include <fstream>
#include <numeric>

#include "model/network.h"
#include "tests/trainer/config/helpers.h"
#include "trainer/cost/module.h"
#include "trainer/cost/step_estimate.h"
#include "trainer/cost/table.h"
#include "trainer/describe.h"
#include "trainer/run/check.h"

namespace lmnet {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr Trains kAll{.edges = true, .vertices = true, .embeddings = true}, kEdges{.edges = true};

const std::string kGpt2 =
    "{model_type: gpt2, n_embd: 8, n_layer: 3, n_head: 2, n_inner: 20, vocab_size: 50, n_positions: 64}";
const std::string kQwen =
    "{model_type: qwen2, hidden_size: 8, intermediate_size: 20, num_hidden_layers: 3, num_attention_heads: 2, "
    "num_key_value_heads: 1, vocab_size: 50, tie_word_embeddings: true}";
const std::string kLlama =
    "{model_type: llama, hidden_size: 8, intermediate_size: 20, num_hidden_layers: 2, num_attention_heads: 4, "
    "num_key_value_heads: 2, vocab_size: 50, tie_word_embeddings: false}";

ModelSpec spec_of(const std::string& backbone, const std::string& more) {
  return resolve_model(testing::parse("model: {backbone: " + backbone + ", " + more + "}").model);
}

const std::vector<std::string> kNetworks = {
    "topology: 1, edge: {kind: block}",
    "topology: 1-2-1, edge: {kind: block}, input: {edge: {kind: block}, prefix: 3}",
    "topology: 1-4-4-4-1, edge: {kind: attention}, input: {edge: {kind: mlp}}",
    "topology: 2-3-1, edge: {kind: linear}, sharing: none",
    "topology: 1-3-2-1, edge: [{kind: attention}, {kind: linear}], sharing: level, output: mean",
    "topology: 1-2-1, edge: {kind: identity}, classes: 4",
};

StageCost cost(const ModelSpec& spec, int vertex, int data, const Trains& trains, const StepShape& step) {
  return cost_of(spec, Plan(spec.graph, vertex, data, trains, spec.shape.tied()), trains, step);
}

/// Calls `check` for every backbone and network.
template <class Check>
void for_all_networks(const Check& check) {
  for (const std::string& backbone : {kGpt2, kQwen, kLlama})
    for (const std::string& network : kNetworks) {
      SCOPED_TRACE(backbone + " " + network);
      check(spec_of(backbone, network));
    }
}

int64_t parameters(const RankCost& rank) {
  return std::accumulate(rank.levels.begin(), rank.levels.end(), int64_t{0},
                         [](int64_t sum, const LevelCost& level) { return sum + level.parameters; });
}

TEST(CostModel, counts_the_parameters_that_each_rank_holds) {
  for_all_networks([](const ModelSpec& spec) {
    for (const int vertex : {1, 2, 3, 5}) {
      const Plan plan(spec.graph, vertex, 1, kEdges, spec.shape.tied());
      const StageCost stage = cost_of(spec, plan, kEdges, {.rows = 4, .tokens = 8});
      for (int rank = 0; rank < vertex; ++rank) {
        const Network network(spec.shape, spec.graph, plan.placement(), rank,
                              at::TensorOptions(at::kBFloat16).device(at::kMeta));
        int64_t held = 0, trainable = 0, counted = 0;
        for (const Parameter& parameter : network.parameter_storage()) {
          held += parameter.value.numel();
          if (parameter.part == Parameter::Part::edges) trainable += parameter.value.numel();
        }
        for (const LevelCost& level : stage.ranks[rank].levels) counted += level.trainable;
        EXPECT_EQ(parameters(stage.ranks[rank]), held) << "rank " << rank << " of " << vertex;
        EXPECT_EQ(counted, trainable) << "rank " << rank << " of " << vertex;
      }
    }
  });
}

TEST(CostModel, the_ranks_together_do_the_work_that_a_token_costs) {
  for_all_networks([](const ModelSpec& spec) {
    for (const Trains& trains : {kEdges, kAll, Trains{.vertices = true}, Trains{}})
      for (const int vertex : {1, 3, 4}) {
        const StageCost stage = cost(spec, vertex, 1, trains, {.rows = 4, .tokens = 8});
        const double work = 4 * 8 * training_flops_per_token(spec, trains, 8);
        EXPECT_NEAR((stage.forward_flops + stage.backward_flops) / work, 1, 1e-12) << vertex << " ranks";
      }
  });
}

TEST(CostModel, rows_and_messages_of_the_wide_network_on_four_ranks) {
  const ModelSpec spec = spec_of(kQwen, "topology: 1-4-4-4-1, edge: {kind: block}");
  constexpr int64_t kTokens = 16;
  const double row = kTokens * 8 * 2;  // bytes of a row of bf16
  for (const bool overlap : {false, true}) {
    const StageCost stage =
        cost(spec, 4, 1, kAll, {.rows = 8, .micro_batches = 3, .tokens = kTokens, .overlap = overlap});
    EXPECT_EQ(stage.pieces.size(), overlap ? 2 : 1);
    for (const RankCost& rank : stage.ranks) {
      std::vector<int64_t> rows;
      std::vector<double> sent;
      for (const LevelCost& level : rank.levels) {
        rows.push_back(level.rows);
        sent.push_back(level.messages / row / 3);
      }
      EXPECT_THAT(rows, ::testing::ElementsAre(2, 8, 8, 8, 2, 2));
      EXPECT_THAT(sent, ::testing::ElementsAre(12, 48, 48, 12, 0, 0)) << "to three others, and back";
    }
  }
}

TEST(CostModel, ideal_speed_up_is_that_of_the_balance) {
  const ModelSpec wide = spec_of(kQwen, "topology: 1-4-4-4-1, edge: {kind: block}");
  const auto ideal = [](const ModelSpec& spec, int vertex, int64_t rows, bool overlap = true) {
    return cost(spec, vertex, 1, kEdges, {.rows = rows, .tokens = 16, .overlap = overlap}).ideal_speed_up();
  };
  for (const int vertex : {1, 2, 4}) EXPECT_NEAR(ideal(wide, vertex, 8), vertex, 1e-9);
  EXPECT_NEAR(ideal(wide, 8, 16), 8, 1e-9) << "beyond the widest level";
  EXPECT_NEAR(ideal(spec_of(kQwen, "topology: 2-3-1"), 4, 8, false), 4, 1e-9) << "widths that do not divide the ranks";
  EXPECT_LT(ideal(wide, 4, 1), 4) << "one row is not to be cut";
  EXPECT_NEAR(ideal(wide, 4, 12), ideal(wide, 4, 12, false), 1e-9) << "pieces cost no balance";
  EXPECT_LT(ideal(spec_of(kQwen, "topology: 1-4-4-4-1, sharing: none"), 4, 8), 3.5)
      << "whole vertices: the narrow levels run on one rank";
}

TEST(CostModel, more_replicas_never_cost_a_rank_more) {
  const ModelSpec spec = spec_of(kLlama, "topology: 1-3-2-1");
  double compute = std::numeric_limits<double>::infinity(), memory = compute;
  for (const int data : {1, 2, 4, 8}) {
    const StepShape step{.rows = 2, .micro_batches = 8 / data, .tokens = 16};
    const StageCost stage = cost(spec, 2, data, kAll, step);
    const double now = static_cast<double>(step.micro_batches) * (stage.forward_flops + stage.backward_flops);
    const double bytes = stage.ranks[stage.fullest()].memory.total();
    EXPECT_LT(now, compute);
    EXPECT_LE(bytes, memory) << "optimiser states are sharded";
    compute = now;
    memory = bytes;
  }
}

TEST(CostModel, optimiser_states_are_sharded_over_the_replica_group) {
  const ModelSpec spec = spec_of(kLlama, "topology: 1-2-1");
  const auto memory = [&](int data, bool sharded) {
    return cost(spec, 1, data, kAll, {.rows = 2, .tokens = 8, .sharded = sharded}).ranks[0].memory;
  };
  const ParameterCount count = count_parameters(spec.shape, spec.graph);
  const auto trained = static_cast<double>(count.trainable(kAll));
  EXPECT_EQ(memory(1, true).weights, 2.0 * static_cast<double>(count.total()));
  EXPECT_EQ(memory(1, true).gradients, 4 * trained);
  EXPECT_EQ(memory(1, true).optimizer, 12 * trained);
  EXPECT_EQ(memory(4, false).optimizer, 12 * trained);
  EXPECT_EQ(memory(4, true).optimizer, 3 * trained);
  EXPECT_EQ(memory(4, true).gradients, 4 * trained);
  const RankCost rank = cost(spec, 1, 4, kAll, {.rows = 2, .tokens = 8}).ranks[0];
  double levels = 0;
  for (const LevelCost& level : rank.levels) levels += level.optimizer;
  EXPECT_EQ(levels, rank.memory.optimizer) << "the table adds up";
}

TEST(CostModel, alike_edges_of_a_gap_are_reduced_as_one) {
  const ModelSpec spec = spec_of(kLlama, "topology: 1-4-4-1, edge: {kind: linear}");
  const auto working = [&](int data) {
    return cost(spec, 1, data, kEdges, {.rows = 2, .tokens = 8}).ranks[0].memory.working;
  };
  EXPECT_NEAR(working(2) - working(1), 16 * (8 * 8 + 8) * 4, 1e-6) << "their terms lie side by side, fp32";
}

TEST(CostModel, frozen_parts_before_what_trains_keep_nothing) {
  const ModelSpec spec = spec_of(kQwen, "topology: 1-2-1, edge: {kind: block}");
  const StepShape step{.rows = 4, .tokens = 8};
  const RankCost edges = cost(spec, 1, 1, kEdges, step).ranks[0], all = cost(spec, 1, 1, kAll, step).ranks[0];
  const RankCost head = cost(spec_of(kLlama, "topology: 1-2-1"), 1, 1, {.head = true}, step).ranks[0];
  EXPECT_LT(edges.levels[0].activations, all.levels[0].activations);
  EXPECT_LT(edges.levels[1].activations, all.levels[1].activations);
  EXPECT_EQ(head.levels[0].activations, 0);
  EXPECT_EQ(head.levels[1].activations, 2 * 4 * 8 * 8 * 4) << "what the level reads, fp32";
}

TEST(CostModel, the_head_holds_more_logits_at_once_on_a_gpu) {
  const ModelSpec spec = spec_of(
      "{model_type: llama, hidden_size: 8, intermediate_size: 20, num_hidden_layers: 1, num_attention_heads: 4, "
      "vocab_size: 50000, tie_word_embeddings: false}",
      "topology: 1");
  const auto working = [&](bool gpu) {
    const StepShape step{.rows = 4, .tokens = 1024, .gpu = gpu};
    return cost(spec, 1, 1, {.head = true}, step).ranks[0].memory.working;
  };
  EXPECT_NEAR(working(true) - working(false), (int64_t{60} << 20) * 2, 1) << "bf16";
}

TEST(StepEstimate, faster_links_and_overlap_never_make_a_step_slower) {
  const ModelSpec spec = spec_of(kLlama, "topology: 1-4-4-4-1");
  const Plan plan(spec.graph, 4, 2, kAll, false);
  const auto seconds = [&](double link, bool overlap) {
    const StepShape step{.rows = 8, .micro_batches = 2, .tokens = 256, .overlap = overlap};
    DeviceSpec device = device_spec({.device = "h100", .link_bandwidth = link, .ranks_per_host = 1});
    device.latency = 0;
    return estimate_step(spec, plan, kAll, step, cost_of(spec, plan, kAll, step), device).seconds;
  };
  double before = std::numeric_limits<double>::infinity();
  for (const double link : {1, 10, 100}) {
    EXPECT_LT(seconds(link, true), before);
    EXPECT_LE(seconds(link, true), seconds(link, false) * (1 + 1e-9));
    before = seconds(link, true);
  }
}

TEST(StepEstimate, one_rank_exchanges_nothing) {
  const ModelSpec spec = spec_of(kLlama, "topology: 1-2-1");
  const Plan plan(spec.graph, 1, 1, kAll, false);
  const StepShape step{.rows = 8, .micro_batches = 7, .tokens = 256};
  const StageCost stage = cost_of(spec, plan, kAll, step);
  const StepEstimate estimate = estimate_step(spec, plan, kAll, step, stage, device_spec({.device = "a100"}));
  EXPECT_EQ(estimate.exchange, 0);
  EXPECT_EQ(estimate.reduction, 0);
  EXPECT_EQ(estimate.speed_up, 1);
  EXPECT_NEAR(estimate.exposed, 0, 1e-12);
  EXPECT_NEAR(estimate.tokens_per_s * estimate.seconds, 8 * 7 * 256, 1e-6);
}

TEST(DeviceSpec, is_known_by_name_and_corrected_by_the_user) {
  const DeviceSpec device = device_spec({.device = "h200", .link_bandwidth = 12.5, .ranks_per_host = 4});
  EXPECT_EQ(device.link, 12.5e9);
  EXPECT_EQ(device.local_link, 450e9);
  EXPECT_EQ(device.ranks_per_host, 4);
  EXPECT_GT(device_spec({}).memory, 0) << "of this machine";
  EXPECT_THAT(testing::error_of([] { device_spec({.device = "h20"}); }),
              AllOf(HasSubstr("--device h20 is unknown, did you mean h200?"), HasSubstr("cpu, a100")));
}

TEST(DeviceSpec, of_a_run_is_its_own_with_the_ranks_of_its_first_host) {
  const std::vector<std::string> hosts{"a", "a", "b", "b", "c", "c"};
  EXPECT_EQ(machine_of("", hosts).ranks_per_host, 2);
  EXPECT_EQ(device_spec(machine_of("", hosts)).name, "cpu");
  EXPECT_EQ(machine_of("NVIDIA A100-SXM4-80GB", hosts).device, "a100");
  EXPECT_EQ(machine_of("Something new", hosts).device, kUsualGpu);
}

TEST(RankList, is_short) {
  EXPECT_EQ(rank_list({0, 1, 2, 3}, 4), "0-3");
  EXPECT_EQ(rank_list({0, 1, 5}, 8), "0-1, 5");
  EXPECT_EQ(rank_list({0, 2, 4, 6}, 8), "0, 2, … 6");
  EXPECT_EQ(rank_list({0, 1, 4, 7}, 8), "4 of 8");
}

const std::string kLarge = R"(run: {name: large}
model:
  backbone: {model_type: llama, vocab_size: 128256, hidden_size: 8192, intermediate_size: 28672, num_hidden_layers: 80,
             num_attention_heads: 64, num_key_value_heads: 8, tie_word_embeddings: false}
  topology: 1-16-16-16-1
  input: {edge: {kind: block}}
data: {tokenizer: bytes, sequence_length: 4096, train: [{path: a.jsonl, format: c4}]}
train:
  global_batch: 4096
  micro_batch: 64
  stages:
    - {name: edges, trains: [edges], until: 10u, lr: 1e-3}
    - {name: all, trains: [edges, vertices, embeddings, head], until: 10u, lr: 1e-3}
)";

TEST(DryRun, of_70B_on_512_ranks_takes_seconds_and_little_memory) {
  std::ofstream("/proc/self/clear_refs") << "5";  // the peak counts from here, whatever the program did before
  const double before = peak_memory_gib();
  const auto start = std::chrono::steady_clock::now();
  for (const char* vertex : {"1", "16", "512"}) {
    const Config config = testing::parse(kLarge, {std::string("parallel.vertex=") + vertex, "train.micro_batch=8"});
    const std::string text = describe_run(config, 512, {.device = "b200"});
    EXPECT_THAT(text, AllOf(HasSubstr("stage edges: plan"), HasSubstr("do not fit"), HasSubstr("speed-up")));
    EXPECT_LT(std::count(text.begin(), text.end(), '\n'), 200);
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  EXPECT_LT(took.count(), 3 * 10);
  EXPECT_LT(peak_memory_gib() - before, 1);
}

TEST(DryRun, says_what_would_fit) {
  const auto text = [](const std::vector<std::string>& overrides) {
    std::vector<std::string> all{"model.topology=1-2-1", "model.backbone.num_hidden_layers=8", "train.global_batch=512",
                                 "train.stages[1].trains=[edges]"};
    all.insert(all.end(), overrides.begin(), overrides.end());
    return describe_run(testing::parse(kLarge, all), 64, {.device = "h200"});
  };
  EXPECT_THAT(text({"parallel.vertex=4", "train.micro_batch=32"}),
              AllOf(HasSubstr("do not fit into the 140.00 GiB of h200"), HasSubstr("it would with parallel.vertex="),
                    HasSubstr(" or train.micro_batch=")));
  EXPECT_THAT(text({"parallel.vertex=4", "train.micro_batch=1"}), Not(HasSubstr("do not fit")));
}

}  // namespace
}  // namespace lmnet
