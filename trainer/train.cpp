#include "trainer/train.h"

#include <fmt/format.h>
#include <torch/headeronly/version.h>

#include <algorithm>
#include <cstdlib>

#include "model/graph/errors.h"
#include "trainer/batch.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/clock.h"
#include "trainer/cost/table.h"
#include "trainer/describe.h"
#include "trainer/model_spec.h"
#include "trainer/run/check.h"
#include "trainer/run/data.h"
#include "trainer/run/folder.h"
#include "trainer/run/lease.h"
#include "trainer/run/phases.h"
#include "trainer/run/report.h"
#include "trainer/run/same_start.h"
#include "trainer/run/skipped_log.h"
#include "trainer/run/start.h"
#include "trainer/run/step_report.h"
#include "trainer/run/stop_wish.h"
#include "trainer/saving/checkpointer.h"
#include "trainer/saving/load_checkpoint.h"
#include "trainer/saving/partial_load.h"
#include "trainer/sources.h"
#include "trainer/together.h"
#include "trainer/tokenizer_files.h"
#include "trainer/update_guard.h"
#include "trainer/validation.h"

namespace lmnet {
namespace {

namespace fs = std::filesystem;

/// One run on one rank, from its start to its end.
class Run {
 public:
  Run(Communicator& world, const Config& config, const std::vector<std::string>& hosts, StopSignals& signals,
      const RankDevice& where);
  int train();

 private:
  void take_folder();
  void prepare();
  void choose_start();
  void open_data();
  void claim_folder();
  void open_folder();
  void build_network();
  int train_stages();
  void begin_stage();
  bool train_stage();
  void one_update(const Schedule& schedule);
  void note_skipped(const std::vector<SkippedRecord>& met);
  bool accepts(const UpdateResult& result);
  void validate();
  void save(bool last);
  bool due(const std::optional<Span>& every) const;
  int stop();

  Communicator& world_;
  const Config& config_;
  const std::vector<std::string>& hosts_;
  StopSignals& signals_;
  const RankDevice& where_;
  Phases phases_;
  StopWish stop_wish_;
  bool first_;  // rank 0 keeps the run folder
  RunFolder folder_;
  RunReport report_;
  std::optional<RunLease> lease_;  // rank 0's
  bool ours_ = false;              // the folder belongs to this run
  ModelSpec spec_;
  std::unique_ptr<Tokenizer> tokenizer_;
  TextFiles tokenizer_files_;  // copied into checkpoints, which stand alone
  std::optional<Mesh> mesh_;
  std::unique_ptr<Engine> engine_;
  std::optional<RunData> data_;
  std::optional<Validation> validation_;
  SkippedLog skipped_;
  std::optional<Checkpointer> checkpointer_;
  std::optional<CheckpointReader> resumed_;  // until its tensors are read
  RunState state_;
  std::optional<int64_t> resumed_update_;  // of this run's own checkpoint that it goes on from
  UpdateGuard guard_;
  std::optional<double> validation_loss_;  // of the present update
  int64_t tokens_per_update_ = 0, all_updates_ = 0;
  double pace_ = 0;  // seconds of an update
  bool stop_ = false;
};

Run::Run(Communicator& world, const Config& config, const std::vector<std::string>& hosts, StopSignals& signals,
         const RankDevice& where)
    : world_(world),
      config_(config),
      hosts_(hosts),
      signals_(signals),
      where_(where),
      phases_(world, config.parallel.timeouts),
      stop_wish_(signals, config.run, world.rank() == 0, std::getenv),
      first_(world.rank() == 0),
      folder_(config.run.folder()),
      report_(folder_, world, hosts),
      skipped_(config.data.bad_record_limit),
      guard_(config.train) {}

/// How long a launcher that starts a run again lets it wait for the folder: the host that had it may be gone.
std::chrono::seconds patience() {
  const char* seconds = std::getenv("LMNET_LEASE_WAIT");
  return std::chrono::seconds(seconds == nullptr ? 0 : std::atoi(seconds));
}

/// A run that lies there is nobody else's from here on. A new one makes its folder when nothing can be refused any
/// more.
void Run::take_folder() {
  together(world_, [&] {
    if (!first_ || !fs::exists(folder_.path())) return;
    lease_.emplace(folder_.path(), patience());
    stop_wish_.forget_request();
  });
  ours_ = lease_ || folder_.exists();  // one that was submitted has no config.yaml yet
}

/// Everything that can be refused is refused here, by all ranks alike, before the run folder is touched.
void Run::prepare() {
  together(world_, [&] {
    signals_.take(config_.checkpoint.on_signal);
    RunSpec run = check_run(config_, world_.size());
    spec_ = std::move(run.model);
    tokenizer_ = std::move(run.tokenizer);
    if (first_) tokenizer_files_ = read_tokenizer_files(*tokenizer_);
    tokens_per_update_ = config_.train.global_batch * config_.data.sequence_length;
  });
  require_same_plan(world_, hosts_, config_, spec_, *tokenizer_);
}

/// Where the run begins: at a checkpoint, or at update 0.
void Run::choose_start() {
  RunStart start = lmnet::choose_start(world_, config_, folder_);
  for (const std::string& note : start.notes) report_.say(note);
  if (start.checkpoint.empty()) return;
  together(world_, [&] {
    resumed_.emplace(start.checkpoint);
    state_ = parse_state(*resumed_);
    if (!state_.guard.is_null()) guard_.restore(state_.guard);
    changes_on_resume(config_of_checkpoint(*resumed_), config_, resumed_->folder().string());
    if (first_) require_tokenizer_of(resumed_->folder(), tokenizer_files_, config_.where);
    bool own = fs::weakly_canonical(resumed_->folder()).parent_path() == fs::weakly_canonical(folder_.checkpoints());
    if (own) resumed_update_ = state_.run.updates;
  });
}

/// Opens all data before anything is written, so that what is missing or broken is found first.
void Run::open_data() {
  mesh_.emplace(world_, config_.parallel.vertex);
  require_same_data(world_, hosts_, config_, /*reads=*/mesh_->vp_rank == 0);
  together(world_, [&] {
    if (!first_) return;
    for (const std::string& warning : check_files(config_.data)) report_.say("warning: " + warning);
  });
  state_.seed = config_.run.seed;
  if (!resumed_) state_.streams = streams_of(config_, *mesh_);
  data_.emplace(config_, *tokenizer_, *mesh_, state_.streams, state_.stream_states);
  together(world_, [&] { validation_.emplace(config_, *tokenizer_, *mesh_); });
  note_skipped(validation_->skipped());
  state_.stream_states.clear();
}

/// From here on the folder belongs to this run, and nothing can be refused any more.
void Run::claim_folder() {
  std::string lease;
  together(world_, [&] {
    if (!first_) return;
    if (!lease_) {
      folder_.create();
      lease_.emplace(folder_.path(), patience());
      if (folder_.exists())
        throw ConfigError(
            fmt::format("{} has just become another run's; choose another run.name, or start again to "
                        "go on with it",
                        folder_.path().string()));
    }
    lease = lease_->id();
  });
  require_shared_folder(world_, hosts_, folder_.path(), lease);
  ours_ = true;
}

void Run::open_folder() {
  claim_folder();
  std::string last_error;
  std::string picture = draw_topology(spec_.graph);
  const DeviceSpec device = device_spec(machine_of(where_.name(), hosts_));
  for (size_t stage = state_.stage; stage < config_.train.stages.size(); ++stage)
    picture += stage_table(config_, spec_, world_.size(), config_.train.stages[stage], device);
  together(world_, [&] {
    if (!first_) return;
    const RunFolder::Status before = folder_.status();
    state_.restart = folder_.exists() ? std::max(before.restart, state_.restart) + 1 : 0;
    last_error = RunFolder::error_of(before);
    folder_.open(config_, picture);
    folder_.cut_metrics(state_.run.updates);
    if (config_.data.skip_bad_records) skipped_.open(folder_.path() / "skipped.jsonl");
    clean_partial(folder_.checkpoints());
    folder_.set_damaged_aside(state_.run.updates);
    if (config_.log.tensorboard) report_.open_tensorboard(state_.run.updates, to_yaml(config_), spec_.graph);
  });
  report_.open(state_.restart, last_error);
  report_.status("starting", state_.run.updates);
  std::string hosts = hosts_.front() + (hosts_.back() == hosts_.front() ? "" : " … " + hosts_.back());
  report_.say(fmt::format("run {} · LibTorch {} · {} ranks on {}\n{}{}tokenizer {} · {} ids", folder_.path().string(),
                          TORCH_VERSION, world_.size(), hosts, picture, parameter_table(spec_, config_.train.stages),
                          tokenizer_->name(), tokenizer_->vocabulary()));
}

void Run::build_network() {
  engine_ = std::make_unique<Engine>(spec_.shape, spec_.graph, at::TensorOptions(spec_.dtype).device(where_.device),
                                     config_.train.optimizer, *mesh_, engine_options(config_.parallel));
  checkpointer_.emplace(
      *engine_, config_.checkpoint, folder_.checkpoints(),
      CheckpointTexts{to_yaml(config_), std::move(tokenizer_files_), identity_hash(config_), tokenizer_->hash()},
      [this](const std::string& text) { report_.say(text); },
      [this] {
        if (lease_) lease_->require();
      });
  if (resumed_update_) checkpointer_->resumed_at(*resumed_update_);
  if (resumed_) return;
  // Master weights stand from here on, so that the backbone's are not rounded to bf16 first.
  engine_->begin_stage(parse_trains(config_.train.stages.front()));
  engine_->initialize(config_.run.seed);
  together(world_, [&] {
    load_backbones(engine_->optimizer(), spec_, report_.task("loading the backbone"));
    for (const std::string& note : load_parts(config_.model, spec_, tokenizer_->hash(), engine_->optimizer()))
      report_.say(note);
  });
  checkpointer_->refer_to(
      frozen_weights(spec_, config_.model.load, engine_->optimizer(), config_.checkpoint.frozen == "copy"));
}

void Run::begin_stage() {
  const StageConfig& stage = config_.train.stages[state_.stage];
  engine_->begin_stage(parse_trains(stage));
  if (state_.in_stage.updates == 0) guard_.begin_stage();
  if (resumed_) {
    together(world_, [&] { load_checkpoint(*resumed_, engine_->optimizer(), /*moments=*/true); });
    checkpointer_->refer_to(
        frozen_weights(*resumed_, resumed_update_.has_value(), config_.checkpoint.frozen == "copy"));
    report_.say(fmt::format("resumed from {} at update {}", resumed_->folder().string(), state_.run.updates));
    resumed_.reset();
  }
  report_.say(fmt::format(
      "stage {} ({} of {}) · trains {} parameters", stage.name, state_.stage + 1, config_.train.stages.size(),
      short_count(static_cast<double>(count_parameters(spec_.shape, spec_.graph).trainable(parse_trains(stage))))));
}

void Run::one_update(const Schedule& schedule) {
  phases_.enter(Phase::step, state_.run.updates + 1);
  validation_loss_.reset();
  auto start = Clock::now();
  phases_.reach("data");
  const TokenBatch batch = data_->next();
  note_skipped(data_->take_skipped());
  StepReport report;
  report.data_wait = seconds_since(start);
  report.batch_hash = data_->hash(batch);
  if (lease_) lease_->require();
  UpdateOptions options;
  options.lr = learning_rates(config_.train.stages[state_.stage]);
  for (auto& [part, rate] : options.lr) rate *= schedule.factor(state_.in_stage);
  options.clip = config_.train.clip;
  options.micro_batch = config_.train.micro_batch;
  options.loss = {config_.train.loss.label_smoothing, config_.train.loss.epsilon};
  options.save = checkpointer_->vote();
  options.before_change = [this] { checkpointer_->before_update(); };
  const UpdateResult result =
      engine_->gradients(to_sequence(batch), options.micro_batch, stop_wish_.here(), options.loss, options.save);
  if (accepts(result)) engine_->apply(result, options);
  stop_ = result.stop;
  for (Progress* progress : {&state_.run, &state_.in_stage}) {
    ++progress->updates;
    progress->tokens += tokens_per_update_;
  }
  report.result = result;
  report.lr = options.lr;
  report.seconds = seconds_since(start);
  stop_wish_.update_took(report.seconds);
  report.skipped = guard_.skipped();
  constexpr double kNew = 0.1;
  pace_ = pace_ == 0 ? report.seconds : (1 - kNew) * pace_ + kNew * report.seconds;
  report.pace = pace_;
  report.memory_gib = peak_memory_gib(where_);
  report.tokens_per_update = tokens_per_update_;
  report.all_updates = all_updates_;
  report_.progress(report.progress(state_));
  if (due(config_.log.every)) {
    report_.step(report.line(state_));
    if (result.targets == 0)
      report_.say(
          "warning: this batch has nothing to learn from; look at data.train (of messages, what the assistant says)");
    report_.metrics(report.metrics(state_));
  }
  report_.running(state_.run.updates, due(config_.log.every));
  checkpointer_->take(result.save);
  stop_wish_.save_took(checkpointer_->longest());
}

void Run::note_skipped(const std::vector<SkippedRecord>& met) {
  if (!config_.data.skip_bad_records) return;
  if (const int64_t fresh = skipped_.add(world_, met); fresh > 0)
    report_.say(
        fmt::format("{} bad records passed over, listed in {}", fresh, (folder_.path() / "skipped.jsonl").string()));
}

/// Whether the gradients of this update are good enough to change the weights.
bool Run::accepts(const UpdateResult& result) {
  if (result.targets == 0) return true;  // all zeros
  const UpdateGuard::Verdict verdict = guard_.judge(result.loss, result.grad_norm);
  const int64_t update = state_.run.updates + 1;
  if (verdict == UpdateGuard::Verdict::stop)
    throw AgreedError(1, fmt::format("update {}: {}; no weight was changed: look at this update's data, or let "
                                     "train.on_nan and train.on_spike skip such updates and start again; a lower "
                                     "learning rate is for a new run",
                                     update, guard_.reason()));
  if (verdict == UpdateGuard::Verdict::skip)
    report_.say(fmt::format("update {} is skipped: {} ({} so far)", update, guard_.reason(), guard_.skipped()));
  return verdict == UpdateGuard::Verdict::make;
}

bool Run::due(const std::optional<Span>& every) const {
  return every && state_.run.updates % std::max<int64_t>(1, static_cast<int64_t>(every->value)) == 0;
}

/// One that a wish to stop breaks off is made when the run goes on.
void Run::validate() {
  if (!validation_->empty()) {
    phases_.enter(Phase::evaluation, state_.run.updates);
    const auto result = validation_->run(
        *engine_, [&] { return stop_ = stop_wish_.anywhere(world_); }, report_.task("evaluating"));
    if (!result) return;
    validation_loss_ = result->loss;
    report_.say(fmt::format("update {} · validation loss {:.4f}", state_.run.updates, result->loss));
    report_.metrics(
        {{"update", state_.run.updates}, {"validation_loss", result->loss}, {"validation", result->by_source}});
  }
  state_.evaluation_due = false;
}

/// `last`: the run ends here, so it waits until the checkpoint is complete.
void Run::save(bool last) {
  phases_.enter(Phase::checkpoint, state_.run.updates);
  state_.guard = guard_.state();
  const std::string& stage = config_.train.stages[state_.stage].name;
  if (last)
    checkpointer_->save_last(state_, data_->positions(), stage, validation_loss_);
  else
    checkpointer_->save(state_, data_->positions(), stage, validation_loss_);
}

/// Trains the present stage to its end; false when a signal stopped it.
bool Run::train_stage() {
  Schedule schedule(config_.train.stages[state_.stage], tokens_per_update_);
  if (state_.evaluation_due) validate();
  while (!stop_ && !schedule.done(state_.in_stage)) {
    one_update(schedule);
    state_.evaluation_due = due(config_.evaluate.every) || state_.run.updates == all_updates_;
    if (state_.evaluation_due && !stop_) validate();
    if (!stop_ && due(config_.checkpoint.every)) save(/*last=*/false);
  }
  if (stop_) save(/*last=*/true);
  return !stop_;
}

/// Nothing is lost: the ranks have saved, or not begun.
int Run::stop() {
  const StopWish::Reason reason = stop_wish_.agree(world_);
  const bool begun = report_.opened();
  if (begun || ours_)
    report_.status("stopped", begun ? state_.run.updates : folder_.status().update,
                   fmt::format("{}, {}", reason.text, begun ? "saved" : "during start-up"), reason.code);
  report_.say(fmt::format("stopped by {} {}; start again to go on", reason.text,
                          begun ? fmt::format("at update {}", state_.run.updates) : "during start-up"));
  return reason.code;
}

int Run::train_stages() {
  int stages = static_cast<int>(config_.train.stages.size());
  all_updates_ = state_.run.updates;
  for (int stage = state_.stage; stage < stages; ++stage)
    all_updates_ += Schedule(config_.train.stages[stage], tokens_per_update_)
                        .updates_left(stage == state_.stage ? state_.in_stage : Progress{});
  while (state_.stage < stages) {
    begin_stage();
    report_.running(state_.run.updates, /*now=*/true);
    if (!train_stage()) return stop();
    phases_.enter(Phase::start, state_.run.updates);
    ++state_.stage;
    state_.in_stage = {};
  }
  state_.stage = stages - 1;  // a finished run stands at the end of its last stage
  state_.in_stage.updates = Schedule(config_.train.stages.back(), tokens_per_update_).updates();
  state_.in_stage.tokens = state_.in_stage.updates * tokens_per_update_;
  save(/*last=*/true);
  report_.status("done", state_.run.updates);
  report_.say(fmt::format("done · {} updates · {} in {}", state_.run.updates,
                          short_count(static_cast<double>(state_.run.tokens), "t"), folder_.path().string()));
  return 0;
}

int Run::train() {
  try {
    phases_.enter(Phase::start, 0);
    for (void (Run::*step)() : {&Run::take_folder, &Run::prepare, &Run::choose_start, &Run::open_data,
                                &Run::build_network, &Run::open_folder}) {
      (this->*step)();
      if (stop_wish_.anywhere(world_)) return stop();
    }
    return train_stages();
  } catch (const std::exception& error) {
    try {
      // All ranks are here: what is being saved comes to its end.
      if (dynamic_cast<const AgreedError*>(&error) != nullptr && checkpointer_) checkpointer_->settle();
    } catch (const std::exception&) {  // the first cause is what counts
    }
    try {
      if (ours_ && !(lease_ && lease_->lost())) report_.failed(error, phases_.describe(), state_.run.updates);
    } catch (const std::exception&) {  // the first cause is what counts
    }
    throw;
  }
}

}  // namespace

int train(Communicator& world, const Config& config, const std::vector<std::string>& hosts, StopSignals& signals,
          const RankDevice& where) {
  return Run(world, config, hosts, signals, where).train();
}

}  // namespace lmnet
