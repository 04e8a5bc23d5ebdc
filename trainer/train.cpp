#include "trainer/train.h"

#include <fmt/format.h>

#include <algorithm>

#include "trainer/batch.h"
#include "trainer/clock.h"
#include "trainer/describe.h"
#include "trainer/run/open_run.h"
#include "trainer/run/step_report.h"
#include "trainer/saving/load_checkpoint.h"
#include "trainer/schedule.h"
#include "trainer/together.h"

namespace lmnet {
namespace {

/// One run on one rank, from its start to its end.
class Run {
 public:
  Run(Communicator& world, const Config& config, const std::vector<std::string>& hosts, StopSignals& signals,
      const RankDevice& where)
      : run_{world, config, hosts, signals, where} {}
  int train();

 private:
  int train_stages();
  void begin_stage();
  bool train_stage();
  bool one_update(const Schedule& schedule);
  double wait_for_checkpoint();
  bool accepts(const UpdateResult& result);
  void validate();
  void save(bool last);
  bool due(const std::optional<Span>& every) const;
  int stop();

  OpenRun run_;
  std::optional<double> validation_loss_;  // of the present update
  int64_t tokens_per_update_ = 0, all_updates_ = 0;
  double pace_ = 0;  // seconds of an update
  bool stop_ = false;
};

void Run::begin_stage() {
  const StageConfig& stage = run_.config.train.stages[run_.state.stage];
  if (wait_for_checkpoint() > 0) run_.phases.enter(Phase::start, run_.state.run.updates);
  run_.checkpointer->before_change();  // parameters may be laid out anew
  run_.engine->begin_stage(parse_trains(stage));
  if (run_.state.in_stage.updates == 0) run_.guard.begin_stage();
  if (run_.resumed) {
    together(run_.world, [&] {
      load_checkpoint(*run_.resumed, run_.engine->optimizer(), /*moments=*/true,
                      run_.report.task("loading the checkpoint"));
    });
    run_.checkpointer->refer_to(
        frozen_weights(*run_.resumed, run_.resumed_update.has_value(), run_.config.checkpoint.frozen == "copy"));
    run_.report.say(
        fmt::format("resumed from {} at update {}", run_.resumed->folder().string(), run_.state.run.updates));
    run_.resumed.reset();
  }
  run_.report.say(fmt::format(
      "stage {} ({} of {}) · trains {} parameters", stage.name, run_.state.stage + 1, run_.config.train.stages.size(),
      short_count(
          static_cast<double>(count_parameters(run_.spec.shape, run_.spec.graph).trainable(parse_trains(stage))))));
}

/// False where the run is to stop and need not make it: what came before is saved.
bool Run::one_update(const Schedule& schedule) {
  run_.phases.enter(Phase::step, run_.state.run.updates + 1);
  validation_loss_.reset();
  auto start = Clock::now();
  run_.phases.reach("data");
  const TokenBatch batch = run_.data->next();
  run_.note_skipped(run_.data->take_skipped());
  StepReport report;
  report.data_wait = seconds_since(start);
  report.batch_hash = run_.data->hash(batch);
  if (run_.lease) run_.lease->require();
  UpdateOptions options;
  options.lr = learning_rates(run_.config.train.stages[run_.state.stage]);
  for (auto& [part, rate] : options.lr) rate *= schedule.factor(run_.state.in_stage);
  options.clip = run_.config.train.clip;
  options.micro_batch = run_.config.train.micro_batch;
  options.loss = {run_.config.train.loss.label_smoothing, run_.config.train.loss.epsilon};
  options.save = run_.checkpointer->vote();
  options.before_change = [this] { run_.checkpointer->before_change(); };
  const UpdateResult result = run_.engine->gradients(to_sequence(batch), options.micro_batch, run_.stop_wish.here(),
                                                     options.loss, options.save);
  run_.checkpointer->take(result.save);
  report.checkpoint_wait = wait_for_checkpoint();
  if (stop_) {
    run_.checkpointer->settle();
    if (run_.checkpointer->saved() == run_.state.run.updates) return false;
  }
  if (report.checkpoint_wait > 0) run_.phases.enter(Phase::step, run_.state.run.updates + 1);
  if (accepts(result)) run_.engine->apply(result, options);
  stop_ = stop_ || result.stop;
  for (Progress* progress : {&run_.state.run, &run_.state.in_stage}) {
    ++progress->updates;
    progress->tokens += tokens_per_update_;
  }
  report.result = result;
  report.lr = options.lr;
  report.seconds = seconds_since(start) - report.checkpoint_wait;
  run_.stop_wish.update_took(report.seconds);
  report.skipped = run_.guard.skipped();
  constexpr double kNew = 0.1;
  pace_ = pace_ == 0 ? report.seconds : (1 - kNew) * pace_ + kNew * report.seconds;
  report.pace = pace_;
  report.memory_gib = peak_memory_gib(run_.where);
  report.tokens_per_update = tokens_per_update_;
  report.all_updates = all_updates_;
  run_.report.progress(report.progress(run_.state));
  const bool logged = due(run_.config.log.every) || run_.state.run.updates == all_updates_;
  if (logged) {
    run_.report.step(report.line(run_.state));
    if (result.targets == 0)
      run_.report.say(
          "warning: this batch has nothing to learn from; look at data.train (of messages, what the assistant says)");
    run_.report.metrics(report.metrics(run_.state));
  }
  run_.report.running(run_.state.run.updates, logged);
  run_.stop_wish.save_took(run_.checkpointer->longest());
  return true;
}

/// Before an update that would be too far ahead of the checkpoint that is being written; the seconds that it waited.
double Run::wait_for_checkpoint() {
  const int64_t update = run_.state.run.updates + 1;
  if (!run_.checkpointer->holds(update)) return 0;
  run_.phases.enter(Phase::checkpoint, run_.state.run.updates);
  const double waited = run_.checkpointer->hold(update);
  if (run_.lease) run_.lease->require();  // a disk that stalls is what loses it
  stop_ = run_.stop_wish.anywhere(run_.world);
  return waited;
}

/// Whether the gradients of this update are good enough to change the weights.
bool Run::accepts(const UpdateResult& result) {
  if (result.targets == 0) return true;  // all zeros
  const UpdateGuard::Verdict verdict = run_.guard.judge(result.loss, result.grad_norm);
  const int64_t update = run_.state.run.updates + 1;
  if (verdict == UpdateGuard::Verdict::stop)
    throw AgreedError(1, fmt::format("update {}: {}; no weight was changed: look at this update's data, or let "
                                     "train.on_nan and train.on_spike skip such updates and start again; a lower "
                                     "learning rate is for a new run",
                                     update, run_.guard.reason()));
  if (verdict == UpdateGuard::Verdict::skip)
    run_.report.say(
        fmt::format("update {} is skipped: {} ({} so far)", update, run_.guard.reason(), run_.guard.skipped()));
  return verdict == UpdateGuard::Verdict::make;
}

bool Run::due(const std::optional<Span>& every) const {
  return every && run_.state.run.updates % std::max<int64_t>(1, static_cast<int64_t>(every->value)) == 0;
}

/// One that a wish to stop breaks off is made when the run goes on.
void Run::validate() {
  if (!run_.validation->empty()) {
    run_.phases.enter(Phase::evaluation, run_.state.run.updates);
    const auto result = run_.validation->run(
        *run_.engine, [&] { return stop_ = run_.stop_wish.anywhere(run_.world); }, run_.report.task("evaluating"));
    if (!result) return;
    validation_loss_ = result->loss;
    run_.report.say(fmt::format("update {} · validation loss {:.4f}", run_.state.run.updates, result->loss));
    run_.report.metrics(
        {{"update", run_.state.run.updates}, {"validation_loss", result->loss}, {"validation", result->by_source}});
  }
  run_.state.evaluation_due = false;
}

/// `last`: the run ends here, so it waits until the checkpoint is complete.
void Run::save(bool last) {
  run_.phases.enter(Phase::checkpoint, run_.state.run.updates);
  run_.state.guard = run_.guard.state();
  const std::string& stage = run_.config.train.stages[run_.state.stage].name;
  if (last)
    run_.checkpointer->save_last(run_.state, run_.data->positions(), stage, validation_loss_);
  else
    run_.checkpointer->save(run_.state, run_.data->positions(), stage, validation_loss_);
}

/// Trains the present stage to its end; false when a signal stopped it.
bool Run::train_stage() {
  Schedule schedule(run_.config.train.stages[run_.state.stage], tokens_per_update_);
  if (run_.state.evaluation_due) validate();
  while (!stop_ && !schedule.done(run_.state.in_stage)) {
    if (!one_update(schedule)) break;
    run_.state.evaluation_due = due(run_.config.evaluate.every) || run_.state.run.updates == all_updates_;
    if (run_.state.evaluation_due && !stop_) validate();
    if (!stop_ && due(run_.config.checkpoint.every)) save(/*last=*/false);
  }
  if (stop_) save(/*last=*/true);
  return !stop_;
}

/// Nothing is lost: the ranks have saved, or not begun.
int Run::stop() {
  const StopWish::Reason reason = run_.stop_wish.agree(run_.world);
  const bool begun = run_.report.opened();
  if (begun || run_.ours)
    run_.report.status("stopped", begun ? run_.state.run.updates : run_.folder.status().update,
                       fmt::format("{}, {}", reason.text, begun ? "saved" : "during start-up"), reason.code);
  run_.report.say(fmt::format("stopped by {} {}; start again to go on", reason.text,
                              begun ? fmt::format("at update {}", run_.state.run.updates) : "during start-up"));
  return reason.code;
}

int Run::train_stages() {
  tokens_per_update_ = run_.config.train.global_batch * run_.config.data.sequence_length;
  int stages = static_cast<int>(run_.config.train.stages.size());
  all_updates_ = run_.state.run.updates;
  for (int stage = run_.state.stage; stage < stages; ++stage)
    all_updates_ += Schedule(run_.config.train.stages[stage], tokens_per_update_)
                        .updates_left(stage == run_.state.stage ? run_.state.in_stage : Progress{});
  while (run_.state.stage < stages) {
    begin_stage();
    run_.report.running(run_.state.run.updates, /*now=*/true);
    if (!train_stage()) return stop();
    run_.phases.enter(Phase::start, run_.state.run.updates);
    ++run_.state.stage;
    run_.state.in_stage = {};
  }
  run_.state.stage = stages - 1;  // a finished run stands at the end of its last stage
  run_.state.in_stage.updates = Schedule(run_.config.train.stages.back(), tokens_per_update_).updates();
  run_.state.in_stage.tokens = run_.state.in_stage.updates * tokens_per_update_;
  save(/*last=*/true);
  run_.report.status("done", run_.state.run.updates);
  run_.report.say(fmt::format("done · {} · {} in {}", counted(run_.state.run.updates, "update"),
                              short_count(static_cast<double>(run_.state.run.tokens), "t"),
                              run_.folder.path().string()));
  return 0;
}

int Run::train() {
  try {
    if (!open_run(run_)) return stop();
    return train_stages();
  } catch (const std::exception& error) {
    try {
      // All ranks are here: what is being saved comes to its end.
      if (dynamic_cast<const AgreedError*>(&error) != nullptr && run_.checkpointer) run_.checkpointer->settle();
    } catch (const std::exception&) {  // the first cause is what counts
    }
    try {
      if (run_.ours && !(run_.lease && run_.lease->lost()))
        run_.report.failed(error, run_.phases.describe(), run_.state.run.updates);
    } catch (const std::exception&) {  // the first cause is what counts
    }
    fail_alone(run_.world, run_.hosts[run_.world.rank()], error);  // now: this rank may have to wait for its disk
    throw;
  }
}

}  // namespace

int train(Communicator& world, const Config& config, const std::vector<std::string>& hosts, StopSignals& signals,
          const RankDevice& where) {
  return Run(world, config, hosts, signals, where).train();
}

}  // namespace lmnet
