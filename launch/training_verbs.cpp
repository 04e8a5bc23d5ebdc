#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>

#include "launch/ranks.h"
#include "launch/verb.h"
#include "trainer/bench/bench.h"
#include "trainer/build_id.h"
#include "trainer/config/config.h"
#include "trainer/run/check.h"
#include "trainer/run/same_start.h"
#include "trainer/run/signals.h"
#include "trainer/together.h"
#include "trainer/train.h"

namespace lmnet {
namespace {

/// What the ranks of a job compute on, and what joins them.
struct Ranks {
  RankDevice where;
  std::unique_ptr<Communicator> world;
};

Ranks choose_ranks(Communicator& host, const ParallelConfig& parallel) {
  Ranks ranks;
  together(host, [&] { ranks.where = choose_device(parallel.device, read_launch_environment(std::getenv)); });
  together(host, [&] { ranks.world = choose_backend(parallel.backend, ranks.where, host.fork()); });
  return ranks;
}

/// What `train` and `bench` read.
struct ConfigWords {
  std::string file;
  std::vector<std::string> overrides;

  Config load() const { return load_config(file, overrides); }
  /// The same on all ranks, or an AgreedError.
  Config load(const MpiRuntime& runtime, Communicator& world) const {
    Config config;
    together(world, [&] { config = load(); });
    require_same_config(world, runtime.hosts(), config);
    return config;
  }
};

class Train final : public Verb {
 public:
  Train() : Verb("train", "train; alone, or under mpirun -np N or srun; resumes by itself") {}

  void describe(CLI::App& app) override {
    app.add_option("CONFIG", config_.file, "a YAML file; `lmnet help config` lists its keys")->required();
    add_overrides(app, config_.overrides);
    app.add_flag("--print-config", print_config_, "print the effective config and end");
    app.add_flag("--dry-run", dry_run_, "print plan, parameters, memory and expected speed and end");
    app.add_option("--ranks", ranks_, "for --dry-run: the number of ranks")->check(refusal_of_count);
    app.add_option("--device", machine_.device,
                   fmt::format("for --dry-run: what a rank runs on: {}", fmt::join(device_names(), ", ")));
    app.add_option("--link-bandwidth", machine_.link_bandwidth, "for --dry-run: GB/s of a rank to other hosts")
        ->check(CLI::PositiveNumber);
    app.add_option("--local-bandwidth", machine_.local_bandwidth, "for --dry-run: GB/s of a rank inside its host")
        ->check(CLI::PositiveNumber);
    app.add_option("--ranks-per-host", machine_.ranks_per_host, "for --dry-run: ranks of a host")
        ->check(refusal_of_count);
  }

  int run(ProgramArguments arguments) override {
    if (print_config_ || dry_run_) {
      const Config config = config_.load();
      fmt::print("{}", print_config_ ? to_yaml(config) : describe_run(config, ranks_, machine_));
      return 0;
    }
    // Before MPI starts: mpirun passes signals on from the first moment.
    StopSignals signals(CheckpointConfig().on_signal,
                        "Ctrl-C: saving after this update, then the run ends (once more: ends at once, unsaved)\n");
    return on_ranks(arguments.count, arguments.words, [&](const MpiRuntime& runtime, Communicator& world) {
      const Config config = config_.load(runtime, world);
      const Ranks ranks = choose_ranks(world, config.parallel);
      return train(*ranks.world, config, runtime.hosts(), signals, ranks.where);
    });
  }

 private:
  ConfigWords config_;
  bool print_config_ = false, dry_run_ = false;
  int ranks_ = 1;
  MachineOptions machine_;
};

class Check final : public Verb {
 public:
  Check()
      : Verb("check", "what this host sees of a run: the program, its config and its data; launch/mpirun compares") {}

  void describe(CLI::App& app) override {
    app.add_option("CONFIG", config_.file, "a YAML file")->required();
    add_overrides(app, config_.overrides);
    app.add_option("--sees", sees_, "also whether this file is there");
  }

  int run(ProgramArguments) override {
    const Config config = config_.load();
    std::vector<Fact> facts = {{"LMNet", build_id()}};
    if (!sees_.empty()) facts.emplace_back(sees_, std::filesystem::exists(sees_) ? "there" : "not there");
    for (auto& fact : data_facts(config)) facts.push_back(std::move(fact));
    for (auto& fact : values_of(config)) facts.push_back(std::move(fact));
    for (const auto& [name, value] : facts) fmt::print("{}\t{}\n", name, value);
    return 0;
  }

 private:
  ConfigWords config_;
  std::string sees_;
};

class Bench final : public Verb {
 public:
  Bench() : Verb("bench", "measure speed on random weights and tokens, or that of the data") {}

  void describe(CLI::App& app) override {
    app.add_option("CONFIG", config_.file, "a YAML file; its data is read for --what load only")->required();
    add_overrides(app, config_.overrides);
    app.add_option("--what", options_.what, "train, forward, generate or load")->capture_default_str();
    app.add_option(
           "--steps", options_.steps,
           fmt::format("measured steps; without it {}, of --what load as many as 3 s take", BenchOptions::kSteps))
        ->check(refusal_of_count);
    app.add_option("--warmup", options_.warmup, "steps before")->capture_default_str();
    app.add_flag("--json", options_.json, "print one JSON line");
  }

  int run(ProgramArguments arguments) override {
    return on_ranks(arguments.count, arguments.words, [&](const MpiRuntime& runtime, Communicator& world) {
      const Config config = config_.load(runtime, world);
      const Ranks ranks = choose_ranks(world, config.parallel);
      return bench(*ranks.world, config, options_, ranks.where);
    });
  }

 private:
  ConfigWords config_;
  BenchOptions options_;
};

}  // namespace

Verbs training_verbs() {
  Verbs verbs;
  verbs.push_back(std::make_unique<Train>());
  verbs.push_back(std::make_unique<Bench>());
  verbs.push_back(std::make_unique<Check>());
  return verbs;
}

}  // namespace lmnet
