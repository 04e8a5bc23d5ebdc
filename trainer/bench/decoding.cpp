#include "trainer/bench/decoding.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "model/graph/errors.h"
#include "trainer/bench/measuring.h"
#include "trainer/describe.h"
#include "trainer/dtype.h"
#include "trainer/engine.h"
#include "trainer/generation/decoder.h"
#include "trainer/model_spec.h"
#include "trainer/together.h"

namespace lmnet {
namespace {

/// Random tokens.
class RandomIds {
 public:
  RandomIds(uint64_t seed, int64_t vocabulary) : random_(random_generator(seed)), vocabulary_(vocabulary) {}

  std::vector<int32_t> next(int64_t count) {
    const at::Tensor ids = at::randint(0, vocabulary_, {count}, random_, at::kInt);
    return {ids.const_data_ptr<int32_t>(), ids.const_data_ptr<int32_t>() + count};
  }

 private:
  at::Generator random_;
  int64_t vocabulary_;
};

/// Runs the works by turns, so that what else the machine does slows all of them alike; the median seconds of each.
std::vector<double> median_seconds(const std::vector<std::function<void()>>& works, int64_t steps, int64_t warmup,
                                   const Advance& advance) {
  std::vector<std::vector<double>> seconds(works.size());
  for (int64_t i = 0; i < warmup + steps; ++i) {
    advance(i, warmup + steps);
    for (size_t w = 0; w < works.size(); ++w) {
      const double one = seconds_of(works[w]);
      if (i >= warmup) seconds[w].push_back(one);
    }
  }
  advance(warmup + steps, warmup + steps);
  std::vector<double> medians;
  for (std::vector<double>& of_work : seconds) medians.push_back(median(std::move(of_work)));
  return medians;
}

/// Fills in the seconds and the cache's size.
void measure(Engine& engine, RandomIds& random, int64_t steps, int64_t warmup, Console* console,
             DecodingMeasurement& result) {
  const Advance read = task_of(console, "reading the texts before");
  const auto decoder_at = [&](int64_t position) {
    return Decoder(engine, {random.next(std::max<int64_t>(1, position - warmup - steps / 2))}, warmup + steps);
  };
  read(0, 2);
  Decoder near = decoder_at(result.near);
  read(1, 2);
  Decoder far = decoder_at(result.far);
  read(2, 2);
  const auto step = [&](Decoder& decoder) { return [&] { decoder.step(random.next(1)); }; };
  const auto recompute = [&] {
    const at::Tensor row = at::tensor(random.next(result.near), at::kLong).unsqueeze(0);
    engine.logits(engine.hidden({row, {}, {}}).select(1, result.near - 1));
  };
  result.recompute_near =
      median_seconds({recompute}, steps, warmup, task_of(console, "tokens without the cache")).front();
  const std::vector<double> cached = median_seconds({step(near), step(far)}, steps, warmup, task_of(console, "tokens"));
  result.seconds_near = cached[0];
  result.seconds_far = cached[1];
  result.cache_mib = static_cast<double>(far.cache_bytes()) / (1 << 20);
}

}  // namespace

DecodingMeasurement measure_decoding(Communicator& world, const Config& config, int64_t steps, int64_t warmup,
                                     Console* console) {
  ModelSpec spec;
  DecodingMeasurement result;
  together(world, [&] {
    if (world.size() > 1) throw ConfigError("--what generate measures one rank: start it without mpirun");
    if (steps < 1 || warmup < 0) throw ConfigError("--steps takes 1 or more, --warmup 0 or more");
    spec = resolve_model(config.model);
    const NetworkShape& shape = spec.shape;
    if (const auto longest = shape.longest(); shape.backbone.gpt2() && longest)
      result.far = std::min(result.far, *longest - warmup - steps);
    result.near = std::min(result.near, result.far);
    check_room(shape, result.far, warmup + steps);
  });
  Mesh mesh(world, 1);
  Engine engine(spec.shape, spec.graph, spec.dtype, config.train.optimizer, mesh);
  engine.initialize(config.run.seed);
  result.topology = spec.graph.topology();
  result.precision = dtype_name(spec.dtype);
  result.total = count_parameters(spec.shape, spec.graph).total();
  RandomIds random(config.run.seed, spec.shape.backbone.vocabulary);
  measure(engine, random, steps, warmup, console, result);
  return result;
}

std::string DecodingMeasurement::json() const {
  return nlohmann::ordered_json{{"what", "generate"},
                                {"topology", topology},
                                {"precision", precision},
                                {"ranks", 1},
                                {"batch", 1},
                                {"tokens_per_s", tokens_per_s()},
                                {"recompute_tokens_per_s", 1 / recompute_near},
                                {"times_faster", times_faster()},
                                {"positions", {near, far}},
                                {"seconds_per_token", {seconds_near, seconds_far}},
                                {"growth", growth()},
                                {"cache_mib", cache_mib},
                                {"parameters", {{"total", total}}}}
      .dump();
}

std::string DecodingMeasurement::text() const {
  return fmt::format(
      "generate · topology {} · {} · one row\n"
      "  {} parameters\n"
      "  {:.1f} tok/s at position {}; {:.1f} tok/s without the cache: {:.1f} times as many\n"
      "  {:.2f} ms a token at position {}, {:.2f} ms at {}: {:.2f} times\n"
      "  cache {:.1f} MiB\n",
      topology, precision, short_count(static_cast<double>(total)), tokens_per_s(), near, 1 / recompute_near,
      times_faster(), 1e3 * seconds_near, near, 1e3 * seconds_far, far, growth(), cache_mib);
}

}  // namespace lmnet
