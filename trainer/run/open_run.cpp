#include "trainer/run/open_run.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <torch/headeronly/version.h>

#include <algorithm>
#include <cstdlib>

#include "model/graph/errors.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/clock.h"
#include "trainer/cost/table.h"
#include "trainer/describe.h"
#include "trainer/run/check.h"
#include "trainer/run/same_start.h"
#include "trainer/run/start.h"
#include "trainer/saving/partial_load.h"
#include "trainer/sources.h"
#include "trainer/together.h"
#include "trainer/tokenizer_files.h"

namespace lmnet {
namespace {

namespace fs = std::filesystem;

/// How long a launcher that starts a run again lets it wait for the folder: the host that had it may be gone.
std::chrono::seconds patience() {
  const char* seconds = std::getenv("LMNET_LEASE_WAIT");
  return std::chrono::seconds(seconds == nullptr ? 0 : std::atoi(seconds));
}

/// A run that lies there is nobody else's from here on. A new one makes its folder when nothing can be refused any
/// more.
void take_folder(OpenRun& run) {
  // All ranks wait together, in spells: a time-out is for a rank that does not answer.
  constexpr std::chrono::seconds kSpell{1};
  const std::chrono::seconds longest = patience();
  const Clock::time_point end = Clock::now() + longest;
  at::Tensor waits = at::zeros({1}, at::kLong);
  bool told = false;
  do {
    waits.zero_();
    together(run.world, [&] {
      if (!run.first) return;
      run.folder.require_no_sweep(run.config.where);
      try {
        if (fs::exists(run.folder.path())) run.lease.emplace(run.folder.path(), std::min(longest, kSpell));
        run.stop_wish.heed_requests();
      } catch (const LeaseHeld& error) {
        if (Clock::now() >= end) throw;
        if (!told)
          run.report.say(fmt::format("{}; this start waits for it, {} s at most", error.what(), longest.count()));
        told = true;
        waits.fill_(1);
      }
    });
    run.world.all_reduce(waits);
  } while (waits.item<int64_t>() > 0 && !run.stop_wish.anywhere(run.world));
  run.ours = waits.item<int64_t>() == 0 &&
             (run.lease || run.folder.exists());  // one that was submitted has no config.yaml yet
}

/// Everything that can be refused is refused here, by all ranks alike, before the run folder is touched.
void check(OpenRun& run) {
  together(run.world, [&] {
    run.signals.take(run.config.checkpoint.on_signal);
    RunSpec checked = check_run(run.config, run.world.size());
    run.spec = std::move(checked.model);
    run.tokenizer = std::move(checked.tokenizer);
    if (run.first) run.tokenizer_files = read_tokenizer_files(*run.tokenizer);
  });
  require_same_plan(run.world, run.hosts, run.config, run.spec, *run.tokenizer);
}

/// Where the run begins: at a checkpoint, or at update 0.
void begin_at(OpenRun& run) {
  RunStart start = choose_start(run.world, run.config, run.folder);
  for (const std::string& note : start.notes) run.report.say(note);
  if (start.checkpoint.empty()) return;
  together(run.world, [&] {
    run.resumed.emplace(start.checkpoint);
    run.state = parse_state(*run.resumed);
    if (!run.state.guard.is_null()) run.guard.restore(run.state.guard);
    changes_on_resume(config_of_checkpoint(*run.resumed), run.config, run.resumed->folder().string());
    if (run.first) require_tokenizer_of(run.resumed->folder(), run.tokenizer_files, run.config.where);
    bool own =
        fs::weakly_canonical(run.resumed->folder()).parent_path() == fs::weakly_canonical(run.folder.checkpoints());
    if (own) run.resumed_update = run.state.run.updates;
  });
}

/// Opens all data before anything is written, so that what is missing or broken is found first.
void open_data(OpenRun& run) {
  run.mesh.emplace(run.world, run.config.parallel.vertex);
  require_same_data(run.world, run.hosts, run.config, /*reads=*/run.mesh->vp_rank == 0);
  together(run.world, [&] {
    if (!run.first) return;
    for (const std::string& warning : check_files(run.config.data)) run.report.say("warning: " + warning);
  });
  run.state.seed = run.config.run.seed;
  if (!run.resumed) run.state.streams = streams_of(run.config, *run.mesh);
  run.data.emplace(run.config, *run.tokenizer, *run.mesh, run.state.streams, run.state.stream_states);
  together(run.world, [&] { run.validation.emplace(run.config, *run.tokenizer, *run.mesh); });
  run.note_skipped(run.validation->skipped());
  run.state.stream_states.clear();
}

/// From here on the folder belongs to this run, and nothing can be refused any more.
void claim_folder(OpenRun& run) {
  std::string lease;
  together(run.world, [&] {
    if (!run.first) return;
    if (!run.lease) {
      run.folder.create();
      run.lease.emplace(run.folder.path());
      if (run.folder.exists())
        throw ConfigError(
            fmt::format("{} has just become another run's; choose another run.name, or start again to "
                        "go on with it",
                        run.folder.path().string()));
    }
    lease = run.lease->id();
  });
  require_shared_folder(run.world, run.hosts, run.folder.path(), lease);
  run.ours = true;
}

void open_folder(OpenRun& run) {
  claim_folder(run);
  std::string last_error;
  std::string picture = draw_topology(run.spec.graph);
  const DeviceSpec device = device_spec(machine_of(run.where.name(), run.hosts));
  for (size_t stage = run.state.stage; stage < run.config.train.stages.size(); ++stage)
    picture += stage_table(run.config, run.spec, run.world.size(), run.config.train.stages[stage], device);
  together(run.world, [&] {
    if (!run.first) return;
    const RunFolder::Status before = run.folder.status();
    run.state.restart = run.folder.exists() ? std::max(before.restart, run.state.restart) + 1 : 0;
    last_error = RunFolder::error_of(before);
    run.folder.open(run.config, picture);
    run.folder.cut_metrics(run.state.run.updates);
    if (run.config.data.skip_bad_records) run.skipped.open(run.folder.path() / "skipped.jsonl");
    clean_partial(run.folder.checkpoints());
    run.folder.set_damaged_aside(run.state.run.updates);
    if (run.config.log.tensorboard)
      run.report.open_tensorboard(run.state.run.updates, to_yaml(run.config), run.spec.graph);
  });
  run.report.open(run.state.restart, last_error);
  run.report.status("starting", run.state.run.updates);
  std::string hosts = run.hosts.front() + (run.hosts.back() == run.hosts.front() ? "" : " … " + run.hosts.back());
  run.report.say(fmt::format("run {} · LibTorch {} · {} on {}\n{}{}tokenizer {} · {} ids", run.folder.path().string(),
                             TORCH_VERSION, counted(run.world.size(), "rank"), hosts, picture,
                             parameter_table(run.spec, run.config.train.stages), run.tokenizer->name(),
                             run.tokenizer->vocabulary()));
}

void build_network(OpenRun& run) {
  run.engine = std::make_unique<Engine>(run.spec.shape, run.spec.graph,
                                        at::TensorOptions(run.spec.dtype).device(run.where.device),
                                        run.config.train.optimizer, *run.mesh, engine_options(run.config.parallel));
  run.checkpointer.emplace(
      *run.engine, run.config.checkpoint, run.folder.checkpoints(),
      CheckpointTexts{to_yaml(run.config), std::move(run.tokenizer_files), identity_hash(run.config),
                      run.tokenizer->hash()},
      [&run](const std::string& text) { run.report.say(text); },
      [&run] {
        if (run.lease) run.lease->require();
      });
  run.checkpointer->show_with([&run](const std::string& name) { return run.report.task(name); });
  if (run.resumed_update) run.checkpointer->resumed_at(*run.resumed_update);
  if (run.resumed) return;
  // Master weights stand from here on, so that the backbone's are not rounded to bf16 first.
  run.engine->begin_stage(parse_trains(run.config.train.stages.front()));
  run.engine->initialize(run.config.run.seed);
  together(run.world, [&] {
    load_backbones(run.engine->optimizer(), run.spec, run.report.task("loading the backbone"));
    for (const std::string& note :
         load_parts(run.config.model, run.spec, run.tokenizer->hash(), run.engine->optimizer()))
      run.report.say(note);
  });
  run.checkpointer->refer_to(
      frozen_weights(run.spec, run.config.model.load, run.engine->optimizer(), run.config.checkpoint.frozen == "copy"));
}

}  // namespace

void OpenRun::note_skipped(const std::vector<SkippedRecord>& met) {
  if (!config.data.skip_bad_records) return;
  const int64_t fresh = skipped.add(world, met);
  if (const std::string warning = skipped.take_warning(); !warning.empty()) report.say("warning: " + warning);
  if (fresh == 0) return;
  const std::string listed = skipped.written() ? ", listed in " + (folder.path() / "skipped.jsonl").string() : "";
  report.say(fmt::format("{} passed over{}", counted(fresh, "bad record"), listed));
}

bool open_run(OpenRun& run) {
  run.phases.enter(Phase::start, 0);
  for (void (*step)(OpenRun&) : {take_folder, check, begin_at, open_data, build_network, open_folder}) {
    step(run);
    if (run.stop_wish.anywhere(run.world)) return false;
  }
  return true;
}

}  // namespace lmnet
