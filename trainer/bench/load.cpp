#include "trainer/bench/load.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>

#include "data/loader.h"
#include "model/graph/errors.h"
#include "trainer/clock.h"
#include "trainer/describe.h"
#include "trainer/model_spec.h"
#include "trainer/run/check.h"
#include "trainer/run/data.h"
#include "trainer/sources.h"
#include "trainer/together.h"
#include "trainer/tokenizer_files.h"

namespace lmnet {
namespace {

constexpr double kMegabyte = 1e6;

double processor_seconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

void check(const Config& config, int ranks) {
  const auto fail = [&](const char* key) {
    throw ConfigError(fmt::format("{}: a measurement of loading needs {}", config.where, key));
  };
  if (config.data.train.empty()) fail("data.train");
  if (config.data.sequence_length < 1) fail("data.sequence_length");
  if (config.train.global_batch < 1) fail("train.global_batch");
  check_layout(config, ranks);
}

/// The measured part of one rank that reads.
void measure(Loader& loader, int64_t steps, double least, const Advance& advance, LoadMeasurement& result) {
  const int64_t text = loader.text_bytes();
  const double processor = processor_seconds();
  const auto start = Clock::now();
  int64_t tokens = 0;
  for (result.batches = 0; result.batches < steps || seconds_since(start) < least; ++result.batches) {
    const TokenBatch batch = loader.next();
    tokens += batch.rows * (batch.length - 1);
    if (least == 0) advance(result.batches, steps);
  }
  const double seconds = seconds_since(start);
  const double megabytes = static_cast<double>(loader.text_bytes() - text) / kMegabyte;
  result.tokens_per_s = static_cast<double>(tokens) / seconds;
  result.text_mb_per_s = megabytes / seconds;
  result.text_mb_per_core_s = megabytes / (processor_seconds() - processor);
}

double reduced(Communicator& world, double value, Reduction reduction) {
  at::Tensor tensor = at::full({1}, value, at::kDouble);
  world.all_reduce(tensor, reduction);
  return tensor.item<double>();
}

}  // namespace

LoadMeasurement measure_loading(Communicator& world, const Config& given, int64_t steps, int64_t warmup, double seconds,
                                Console* console) {
  Config config = given;
  if (world.size() % config.parallel.vertex != 0) {
    config.parallel.vertex = 1;
    config.parallel.data.reset();
  }
  LoadMeasurement result;
  world.enter("measurement", std::chrono::hours(24));
  together(world, [&] {
    check(config, world.size());
    const int vertex = config.parallel.vertex, replicas = world.size() / vertex;
    const LoaderOptions options =
        loader_options(config, config.data.streams.value_or(default_streams(config.train.global_batch, replicas)));
    result = {world.size(), vertex, options.readers, options.streams, options.global_batch, options.sequence_length};
    if (world.rank() % vertex != 0) return;
    const double before = memory_gib();
    const ModelSpec spec = config.data.tokenizer == "auto" ? resolve_model(config.model) : ModelSpec{};
    const auto tokenizer = make_tokenizer(tokenizer_name(config.data, spec));
    const auto open = [&] {
      return Loader(sources(config.data, config.data.train), *tokenizer, options, world.rank() / vertex, replicas);
    };
    const Advance opened = task_of(console, "opening the data");
    opened(0, 1);
    auto start = Clock::now();
    Loader loader = open();
    loader.next();
    result.first_batch_s = seconds_since(start);
    opened(1, 1);
    for (int64_t i = 0; i < warmup; ++i) loader.next();
    measure(loader, steps, seconds, task_of(console, "batches"), result);

    start = Clock::now();
    const auto states = loader.state();
    result.save_ms = 1000 * seconds_since(start);
    result.peak_memory_mib = 1024 * (peak_memory_gib() - before);
    Loader other = open();
    start = Clock::now();
    other.restore(states);
    other.next();
    result.restore_s = seconds_since(start);
  });
  for (double* rate : {&result.tokens_per_s, &result.text_mb_per_s}) *rate = reduced(world, *rate, Reduction::sum);
  for (double* cost : {&result.first_batch_s, &result.save_ms, &result.restore_s, &result.peak_memory_mib})
    *cost = reduced(world, *cost, Reduction::max);
  return result;
}

std::string LoadMeasurement::json() const {
  return nlohmann::ordered_json{{"what", "load"},
                                {"ranks", ranks},
                                {"vertex", vertex},
                                {"readers", readers},
                                {"streams", streams},
                                {"batch", batch},
                                {"sequence_length", sequence_length},
                                {"batches", batches},
                                {"first_batch_s", first_batch_s},
                                {"tokens_per_s", tokens_per_s},
                                {"text_mb_per_s", text_mb_per_s},
                                {"text_mb_per_core_s", text_mb_per_core_s},
                                {"save_ms", save_ms},
                                {"restore_s", restore_s},
                                {"peak_memory_mib", peak_memory_mib}}
      .dump();
}

std::string LoadMeasurement::text() const {
  std::string text = fmt::format(
      "load · {}, {} a replica · {} · {} · {} × {} tokens\n"
      "  {} tok/s",
      counted(ranks, "rank"), vertex, counted(readers, "reader"), counted(streams, "stream"), batch, sequence_length,
      short_count(tokens_per_s));
  if (text_mb_per_s > 0)
    text += fmt::format(" · {:.1f} MB/s of text, {:.1f} for each second of a core", text_mb_per_s, text_mb_per_core_s);
  return text + fmt::format(
                    " · over {}\n"
                    "  first batch after {:.2f} s · position saved in {:.2f} ms, restored in {:.2f} s · {:.0f} MiB\n",
                    batches == 1 ? "1 batch" : fmt::format("{} batches", batches), first_batch_s, save_ms, restore_s,
                    peak_memory_mib);
}

}  // namespace lmnet
