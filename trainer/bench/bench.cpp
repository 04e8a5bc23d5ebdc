#include "trainer/bench/bench.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "model/graph/errors.h"
#include "trainer/bench/decoding.h"
#include "trainer/bench/load.h"
#include "trainer/bench/measuring.h"
#include "trainer/config/words.h"
#include "trainer/cost/model.h"
#include "trainer/describe.h"
#include "trainer/dtype.h"
#include "trainer/engine.h"
#include "trainer/model_spec.h"
#include "trainer/run/check.h"
#include "trainer/run/data.h"
#include "trainer/together.h"

namespace lmnet {
namespace {

constexpr const char* kKinds = "train, forward, generate, load";

void check(const Config& config, const BenchOptions& options, int ranks) {
  const auto fail = [&](const std::string& what) { throw ConfigError(fmt::format("{}: {}", config.where, what)); };
  if (options.what == "exchange")
    throw ConfigError(fmt::format("--what {} is planned, not built yet; there are: {}", options.what, kKinds));
  if (options.what != "train" && options.what != "forward")
    throw ConfigError(fmt::format(
        "--what {} is unknown{}; there are: {}", options.what,
        config::did_you_mean(options.what, std::array<std::string, 3>{"train", "forward", "generate"}), kKinds));
  if (options.steps.value_or(BenchOptions::kSteps) < 1 || options.warmup < 0)
    throw ConfigError("--steps takes 1 or more, --warmup 0 or more");
  if (config.data.sequence_length < 1) fail("a measurement needs data.sequence_length");
  if (config.train.global_batch < 1) fail("a measurement needs train.global_batch");
  if (options.what == "train" && config.train.stages.empty())
    fail("--what train needs train.stages: the first one says what trains");
  check_layout(config, ranks);
}

/// Random tokens to learn, the same on all ranks of a replica.
class RandomBatches {
 public:
  RandomBatches(const Config& config, const NetworkShape& shape, const Mesh& mesh)
      : generator_(random_generator(config.run.seed + static_cast<uint64_t>(mesh.dp_rank))),
        rows_(config.train.global_batch / mesh.dp_size),
        length_(config.data.sequence_length),
        vocabulary_(shape.backbone.vocabulary),
        classes_(shape.classes),
        documents_(row_shape(config).documents) {}

  int64_t rows() const { return rows_; }
  Sequence next() {
    const at::Tensor tokens = at::randint(0, vocabulary_, {rows_, length_ + 1}, generator_, at::kLong);
    Sequence batch{tokens.narrow(1, 0, length_).contiguous(), tokens.narrow(1, 1, length_).contiguous(),
                   at::ones({rows_, length_}, at::kBool)};
    if (documents_) batch.documents = draw_documents();
    if (classes_ == 0) return batch;
    batch.targets.remainder_(classes_);  // a class at the last position of each row
    batch.learn.narrow(1, 0, length_ - 1).zero_();
    return batch;
  }

 private:
  /// Rows of 1 to 5 documents.
  DocumentStarts draw_documents() {
    DocumentStarts documents;
    for (int64_t row = 0; row < rows_; ++row) {
      const at::Tensor drawn = at::randint(0, length_, {row % 5}, generator_, at::kLong);
      std::set<int64_t> starts(drawn.data_ptr<int64_t>(), drawn.data_ptr<int64_t>() + drawn.numel());
      starts.insert(0);
      documents.emplace_back(starts.begin(), starts.end());
    }
    return documents;
  }

  at::Generator generator_;
  int64_t rows_, length_, vocabulary_, classes_;
  bool documents_;
};

/// FLOP/s that at::linear reaches on this rank on the products of a block, each at its best, weighted by FLOP.
double linear_rate(const ModelSpec& spec, at::Device device, int64_t positions) {
  constexpr int kRepetitions = 5;
  const BackboneConfig& b = spec.shape.backbone;
  const int64_t d = b.hidden_size, heads = b.heads * b.head_width, f = b.intermediate_size;
  at::NoGradGuard no_grad;
  at::Generator random = random_generator(1);
  const auto drawn = [&](int64_t rows, int64_t columns) {
    return at::randn({rows, columns}, random, at::TensorOptions(spec.dtype)).to(device);
  };
  double flops = 0, seconds = 0;
  for (const auto& [in, out] : {std::pair{d, b.qkv_width()}, {heads, d}, {d, 2 * f}, {f, d}}) {
    const at::Tensor x = drawn(positions, in), weight = drawn(out, in);
    double best = std::numeric_limits<double>::infinity();
    for (int i = 0; i < kRepetitions; ++i) best = std::min(best, seconds_of([&] { at::linear(x, weight); }, device));
    flops += 2 * static_cast<double>(positions * in * out);
    seconds += best;
  }
  return flops / seconds;
}

double reduce(Communicator& world, double value, Reduction reduction) {
  at::Tensor tensor = at::full({1}, value, at::kDouble);
  world.all_reduce(tensor, reduction);
  return tensor.item<double>();
}

/// One step on one rank; returns the seconds in exchanges.
using Step = std::function<double(const Sequence&)>;

Step make_step(Engine& engine, const Config& config, const BenchOptions& options, int64_t micro_batch) {
  if (options.what == "train") {
    UpdateOptions update;
    update.lr = learning_rates(config.train.stages.front());
    update.clip = config.train.clip;
    update.micro_batch = micro_batch;
    update.loss = {config.train.loss.label_smoothing, config.train.loss.epsilon};
    return [&engine, update](const Sequence& batch) { return engine.update(batch, update).exchange_seconds; };
  }
  return [&engine, micro_batch](const Sequence& batch) {
    for (int64_t row = 0; row < batch.rows(); row += micro_batch)
      engine.loss(batch.narrow({row, std::min(row + micro_batch, batch.rows())}));
    return 0.0;
  };
}

/// The config's part of a measurement.
Measurement describe(const Config& config, const BenchOptions& options, const ModelSpec& spec, const Trains& trains,
                     int ranks) {
  const ParameterCount count = count_parameters(spec.shape, spec.graph);
  Measurement result;
  result.what = options.what;
  result.topology = spec.graph.topology();
  result.precision = dtype_name(spec.dtype);
  result.ranks = ranks;
  result.vertex = config.parallel.vertex;
  result.batch = config.train.global_batch;
  result.sequence_length = config.data.sequence_length;
  result.flops_per_token = training_flops_per_token(spec, trains, result.sequence_length);
  result.total = count.total();
  result.trainable = count.trainable(trains);
  return result;
}

}  // namespace

Measurement measure(Communicator& world, const Config& config, const BenchOptions& options, const RankDevice& where,
                    Console* console) {
  ModelSpec spec;
  together(world, [&] {
    check(config, options, world.size());
    spec = resolve_model(config.model);
  });
  const Trains trains = options.what == "train" ? parse_trains(config.train.stages.front()) : Trains{};
  Measurement result = describe(config, options, spec, trains, world.size());
  const Plan plan = plan_of(spec, config, world.size(), trains);
  const StageCost cost = cost_of(spec, plan, trains, step_shape(config, plan.data_parallel(), where.device.is_cuda()));
  result.expected_memory_gib = cost.ranks[cost.fullest()].memory.total() / (1 << 30);
  linear_rate(spec, where.device, 1);  // the libraries set themselves up
  result.baseline_memory_gib = reduce(world, memory_gib(where), Reduction::max);
  const int64_t steps = options.steps.value_or(BenchOptions::kSteps), all = options.warmup + steps;
  if (console != nullptr)
    console->say(fmt::format("builds the network, then makes {} to warm up and {} that count",
                             counted(options.warmup, "step"), counted(steps, "step")));
  const Advance built = task_of(console, "building the network");
  built(0, 1);
  Mesh mesh(world, config.parallel.vertex);
  Engine engine(spec.shape, spec.graph, at::TensorOptions(spec.dtype).device(where.device), config.train.optimizer,
                mesh, engine_options(config.parallel));
  engine.initialize(config.run.seed);
  if (options.what == "train") engine.begin_stage(trains);
  built(1, 1);
  RandomBatches batches(config, spec.shape, mesh);
  const int64_t micro_batch = config.train.micro_batch > 0 ? config.train.micro_batch : batches.rows();
  const int64_t positions = micro_batch * result.sequence_length;
  const Step step = make_step(engine, config, options, micro_batch);

  const auto timeout = std::chrono::duration<double>(config.parallel.timeouts.step);
  world.enter("measurement", std::chrono::duration_cast<std::chrono::milliseconds>(timeout));
  const Advance advance = task_of(console, "steps");
  for (int64_t i = 0; i < options.warmup; ++i) {
    advance(i, all);
    step(batches.next());
  }
  double rate = reduce(world, linear_rate(spec, where.device, positions), Reduction::sum);
  std::vector<double> seconds, exchange;
  for (int64_t i = 0; i < steps; ++i) {
    advance(options.warmup + i, all);
    const Sequence batch = batches.next();
    world.barrier();
    seconds.push_back(seconds_of([&] { exchange.push_back(step(batch)); }, where.device));
  }
  advance(all, all);
  rate = std::max(rate, reduce(world, linear_rate(spec, where.device, positions), Reduction::sum));

  result.seconds_per_step = reduce(world, median(seconds), Reduction::max);
  result.tokens_per_s = static_cast<double>(result.batch * result.sequence_length) / result.seconds_per_step;
  result.gemm_share = result.flops_per_token * result.tokens_per_s / rate;
  result.peak_memory_gib = reduce(world, peak_memory_gib(where), Reduction::max);
  result.exchange_wait = reduce(world, median(exchange), Reduction::max);
  return result;
}

std::string Measurement::json() const {
  return nlohmann::ordered_json{{"what", what},
                                {"topology", topology},
                                {"precision", precision},
                                {"ranks", ranks},
                                {"vertex", vertex},
                                {"batch", batch},
                                {"sequence_length", sequence_length},
                                {"seconds_per_step", seconds_per_step},
                                {"tokens_per_s", tokens_per_s},
                                {"flops_per_token", flops_per_token},
                                {"peak_share", nullptr},  // the peak of a CPU is not known
                                {"gemm_share", gemm_share},
                                {"peak_memory_gib", peak_memory_gib},
                                {"baseline_memory_gib", baseline_memory_gib},
                                {"expected_memory_gib", expected_memory_gib},
                                {"exchange_wait", exchange_wait},
                                {"parameters", {{"total", total}, {"trainable", trainable}}}}
      .dump();
}

std::string Measurement::text() const {
  return fmt::format(
      "{} · topology {} · {} · {}, {} a replica · {} × {} tokens\n"
      "  {} parameters, {} of them train\n"
      "  {:.3f} s a step · {} tok/s · {} a token · {:.1f} % of what plain products reach\n"
      "  peak memory {:.2f} GiB, {:.2f} before the network, {:.2f} expected of it · {:.3f} s a step in exchanges\n",
      what, topology, precision, counted(ranks, "rank"), vertex, batch, sequence_length,
      short_count(static_cast<double>(total)), short_count(static_cast<double>(trainable)), seconds_per_step,
      short_count(tokens_per_s), short_count(flops_per_token, "FLOP"), 100 * gemm_share, peak_memory_gib,
      baseline_memory_gib, expected_memory_gib, exchange_wait);
}

int bench(Communicator& world, const Config& config, const BenchOptions& options, const RankDevice& where) {
  const bool first = world.rank() == 0;
  std::optional<Console> console;
  if (first) console.emplace(stderr);
  Console* const shown = console ? &*console : nullptr;
  const int64_t steps = options.steps.value_or(BenchOptions::kSteps);
  const auto tell = [&](const auto& result) {
    console.reset();
    if (first) fmt::print("{}", options.json ? result.json() + "\n" : result.text());
    return 0;
  };
  if (options.what == "generate") return tell(measure_decoding(world, config, steps, options.warmup, shown));
  if (options.what == "load") {
    const double seconds = options.steps ? 0 : 3;
    return tell(measure_loading(world, config, steps, options.warmup, seconds, shown));
  }
  return tell(measure(world, config, options, where, shown));
}

}  // namespace lmnet
