#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iterator>

#include "launch/run_status.h"
#include "launch/slurm/submit.h"
#include "launch/verb.h"
#include "trainer/together.h"

namespace lmnet {
namespace {

class Submit final : public Verb {
 public:
  Submit() : Verb("submit", "give a training run to Slurm; prints the job's number") {}

  void describe(CLI::App& app) override {
    app.add_option("CONFIG", options_.config, "a YAML file; its run comes back by itself until it is done")->required();
    add_overrides(app, options_.overrides);
    app.add_option("--nodes", options_.nodes, "so many nodes")->required()->check(refusal_of_count);
    app.add_option("--gpus-per-node", options_.gpus_per_node, "GPUs of a node, and its ranks")->check(refusal_of_count);
    app.add_option("--ranks-per-node", options_.ranks_per_node, "ranks of a node; without it one a GPU, or one")
        ->check(refusal_of_count);
    app.add_option("--cpus-per-rank", options_.cpus_per_rank, "processors of a rank")->check(refusal_of_count);
    app.add_option("--time", options_.time, "of one start: 90m, 24h, 2d or as Slurm writes it; without it 24h");
    app.add_option("--launcher", options_.launcher, "what starts the ranks: srun (with PMIx) or mpirun")
        ->check(CLI::IsMember({"srun", "mpirun"}))
        ->capture_default_str();
    app.add_option("--sbatch", options_.sbatch, "another option for sbatch, such as --sbatch=--partition=gpu")
        ->allow_extra_args(false);
    app.add_flag("--dry-run", options_.dry_run, "print the script, write and submit nothing");
  }

  int run(ProgramArguments) override { return slurm::submit(options_); }

 private:
  slurm::SubmitOptions options_;
};

class Status final : public Verb {
 public:
  Status() : Verb("status", "how far runs are, what they do, what went wrong last") {}

  void describe(CLI::App& app) override {
    app.add_option("RUN", folders_, "folders of runs, or folders with runs and sweeps in them")->required();
    app.add_flag("--json", json_, "print a JSON object for each, a line each");
  }

  int run(ProgramArguments) override {
    int code = 0;
    std::vector<std::filesystem::path> runs;
    for (const std::string& folder : folders_) std::ranges::move(runs_of(folder), std::back_inserter(runs));
    for (const std::filesystem::path& run : runs) {
      try {
        const RunStatus status = status_of_run(run);
        fmt::print("{}", json_ ? to_json(status).dump() + "\n" : to_text(status));
      } catch (const std::exception& error) {  // `status runs/*` meets what is no run
        code = exit_code(error);
        if (code != 2 && code != 3) throw;
        fmt::print(stderr, "lmnet: {}\n", sentence(error));
      }
    }
    return code;
  }

 private:
  std::vector<std::string> folders_;
  bool json_ = false;
};

class Stop final : public Verb {
 public:
  Stop() : Verb("stop", "save and stop a run, wherever it runs; take it out of Slurm's queue") {}

  void describe(CLI::App& app) override {
    app.add_option("RUN", run_, "the folder of a run")->required();
    app.add_flag("--no-wait", no_wait_, "return before it has stopped");
  }

  int run(ProgramArguments) override { return stop_run(run_, !no_wait_); }

 private:
  std::string run_;
  bool no_wait_ = false;
};

}  // namespace

Verbs run_verbs() {
  Verbs verbs;
  verbs.push_back(std::make_unique<Submit>());
  verbs.push_back(std::make_unique<Status>());
  verbs.push_back(std::make_unique<Stop>());
  return verbs;
}

}  // namespace lmnet
