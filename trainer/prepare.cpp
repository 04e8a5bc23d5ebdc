#include "trainer/prepare.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <optional>

#include "data/errors.h"
#include "data/prepare.h"
#include "model/graph/errors.h"
#include "trainer/clock.h"
#include "trainer/config/config.h"
#include "trainer/console.h"
#include "trainer/describe.h"
#include "trainer/inspect/data_report.h"
#include "trainer/model_spec.h"
#include "trainer/sources.h"
#include "trainer/together.h"
#include "trainer/tokenizer_files.h"

namespace lmnet {
namespace {

namespace fs = std::filesystem;

/// What the command line means.
struct Task {
  std::vector<Source> sources;
  std::unique_ptr<Tokenizer> tokenizer;
};

Task read_task(const PrepareOptions& options) {
  const std::string kind = fs::path(options.what).extension().string();
  Task task;
  if (kind == ".yaml" || kind == ".yml") {
    if (!options.data.empty())
      throw ConfigError("--format, --formats, --registry and --tokenizer are for raw data; a config says these itself");
    const Config config = load_config(options.what, options.overrides);
    if (config.data.train.empty())
      throw ConfigError(fmt::format("{}: data.train names no source to prepare", config.where));
    const ModelSpec spec = config.data.tokenizer == "auto" ? resolve_model(config.model) : ModelSpec{};
    task = {sources(config.data, config.data.train), make_tokenizer(tokenizer_name(config.data, spec))};
  } else {
    if (!options.overrides.empty()) throw ConfigError("key=value words are for a config");
    task.sources.push_back(source_of(options.what, options.data));
    if (options.data.tokenizer.empty())
      throw ConfigError("raw data needs --tokenizer: a folder, a tokenizer.json, or bytes");
    task.tokenizer = make_tokenizer(options.data.tokenizer);
  }
  for (const Source& source : task.sources)
    if (source.format.prepared()) throw ConfigError(fmt::format("{} is prepared already", source.path.text()));
  return task;
}

/// Each source's own folder.
fs::path folder_of(const Task& task, const fs::path& out, size_t source) {
  if (task.sources.size() == 1) return out;
  const std::string& name = task.sources[source].name;
  return out / (name.empty() ? fmt::format("source-{}", source) : name);
}

/// Large files first, so that ranks and threads end at about the same time.
std::vector<int64_t> files_of(const Preparation& preparation, const Communicator& world) {
  std::vector<int64_t> order(preparation.files.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](int64_t a, int64_t b) {
    return preparation.index.inputs[a].bytes > preparation.index.inputs[b].bytes;
  });
  std::vector<int64_t> mine;
  for (size_t i = world.rank(); i < order.size(); i += world.size()) mine.push_back(order[i]);
  return mine;
}

/// This rank's files. Rank 0 shows how far its own are; the others have about as much.
void prepare_share(Communicator& world, const Preparation& preparation, int threads) {
  const std::vector<int64_t> files = files_of(preparation, world);
  double megabytes = 0;
  for (const int64_t file : files) megabytes += 1e-6 * static_cast<double>(preparation.index.inputs[file].bytes);
  const auto all = std::max<int64_t>(1, std::llround(megabytes));
  together(world, [&] {
    std::optional<Console> console;
    Advance advance = [](int64_t, int64_t) {};
    if (world.rank() == 0) advance = console.emplace().task("MB prepared");
    prepare_files(preparation, files, threads, [&](const PreparationProgress& progress) {
      advance(static_cast<int64_t>(progress.share * static_cast<double>(all)), all);
    });
  });
}

void tell_result(const TokenIndex& index, const fs::path& out, double seconds) {
  const TokenCounts total = index.total();
  int64_t bytes = 0;
  for (const TokenIndex::Shard& shard : index.shards) bytes += shard.bytes;
  fmt::print("{} · {} → {} of {} · {} · {}, {:.1f} % of them learnt · {}\n", out.string(),
             counted(std::ssize(index.inputs), "file"), counted(std::ssize(index.shards), "shard"),
             short_count(static_cast<double>(bytes), "B"), counted(total.documents, "document"),
             short_count(static_cast<double>(total.tokens), "t"),
             100 * static_cast<double>(total.learnt) / static_cast<double>(std::max<int64_t>(1, total.tokens)),
             short_time(seconds));
}

void list(const Task& task, const PrepareOptions& options) {
  constexpr int64_t samples = 3;
  for (size_t i = 0; i < task.sources.size(); ++i) {
    const fs::path out = folder_of(task, options.out, i);
    const bool there = TokenIndex::is_in(out) && TokenIndex::read(out).complete;
    const DataReport report =
        there ? report_prepared(out, samples) : report_raw(task.sources[i], *task.tokenizer, samples);
    fmt::print("{}", report.text(*task.tokenizer));
    if (!there) fmt::print("  will go to {}\n", out.string());
  }
}

void tell_config(const Task& task, const PrepareOptions& options) {
  fmt::print("to train on it:\n  data:\n    tokenizer: {}\n    train:\n", task.tokenizer->name());
  for (size_t i = 0; i < task.sources.size(); ++i)
    fmt::print("      - {{path: {}, format: prepared, weight: {}}}\n", folder_of(task, options.out, i).string(),
               task.sources[i].weight);
}

}  // namespace

int prepare(Communicator& world, const PrepareOptions& options) {
  // Ranks may have shares of unlike length.
  world.enter("preparation", std::chrono::hours(24 * 365));
  const bool first = world.rank() == 0;
  Task task;
  together(world, [&] { task = read_task(options); });
  if (options.list) {
    together(world, [&] {
      if (first) list(task, options);
    });
    return 0;
  }
  const int threads = options.threads > 0 ? options.threads : at::get_num_threads();
  for (size_t i = 0; i < task.sources.size(); ++i) {
    const auto start = Clock::now();
    std::optional<Preparation> preparation;
    together(world, [&] {
      preparation.emplace(expand(task.sources[i].path), task.sources[i].format, *task.tokenizer,
                          folder_of(task, options.out, i));
      if (first) begin_preparation(*preparation);
    });
    prepare_share(world, *preparation, threads);
    together(world, [&] {
      if (first) tell_result(finish_preparation(*preparation), preparation->out, seconds_since(start));
    });
  }
  if (first) tell_config(task, options);
  return 0;
}

}  // namespace lmnet
