#include <CLI/CLI.hpp>

#include "launch/sweep/sweep.h"
#include "launch/verb.h"

namespace lmnet {
namespace {

class Sweep final : public Verb {
 public:
  Sweep() : Verb("sweep", "many runs over topologies and other keys, with a table of results") {}

  void describe(CLI::App& app) override {
    app.add_option("SWEEP", options_.file, "a YAML file; docs/sweeps.md tells its keys")->required();
    add_overrides(app, options_.overrides);
    app.add_option("--launcher", options_.launcher, "local (this machine), mpirun (hosts) or slurm (a job array)")
        ->check([](const std::string& word) {
          return refusal_of(word, {"local", "mpirun", "slurm"});
        })
        ->capture_default_str();
    app.add_option("--jobs", options_.jobs, "runs at a time; without it the file's jobs")->check(refusal_of_count);
    app.add_option("--mpirun", options_.mpirun,
                   "for --launcher mpirun: options, such as '--hostfile hosts --bind numa'");
    app.add_option("--slurm", options_.slurm,
                   "for --launcher slurm: options for sbatch, such as '--partition=gpu --time=4:00:00'");
    app.add_flag("--retry", options_.retry, "start the runs that failed again");
    app.add_flag("--dry-run", options_.dry_run, "check all runs, list them and end");
    app.add_flag("--status", options_.status, "show how far the runs are");
    app.add_flag("--report", options_.report, "compare what is done: a table, and CSV and HTML in the sweep's folder");
  }

  int run(ProgramArguments) override { return sweep::sweep(options_); }

 private:
  sweep::SweepOptions options_;
};

}  // namespace

Verbs sweep_verbs() {
  Verbs verbs;
  verbs.push_back(std::make_unique<Sweep>());
  return verbs;
}

}  // namespace lmnet
