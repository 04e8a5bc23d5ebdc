#include "trainer/train.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <torch/headeronly/version.h>

#include <algorithm>
#include <csignal>

#include "data/loader.h"
#include "model/graph/errors.h"
#include "parallel/errors.h"
#include "trainer/batch.h"
#include "trainer/checkpointer.h"
#include "trainer/clock.h"
#include "trainer/cost_table.h"
#include "trainer/describe.h"
#include "trainer/log.h"
#include "trainer/model_spec.h"
#include "trainer/phases.h"
#include "trainer/run_check.h"
#include "trainer/run_folder.h"
#include "trainer/run_start.h"
#include "trainer/same_start.h"
#include "trainer/step_report.h"
#include "trainer/together.h"
#include "trainer/tokenizer_files.h"
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
  int train_stages();
  void prepare();
  void choose_start();
  void open_data();
  void open_folder();
  void build_network();
  void begin_stage();
  bool train_stage();
  void one_update(const Schedule& schedule);
  TokenBatch next_batch();
  void validate();
  void save();
  bool due(const std::optional<Span>& every) const;
  void status(const std::string& state, const std::string& reason = "", int code = 0);
  void say(const std::string& text) const;
  bool out_of_time() const;
  int stop();
  std::string here() const { return fmt::format("rank {} on {}", world_.rank(), hosts_[world_.rank()]); }
  void record(const std::exception& error) const;

  Communicator& world_;
  const Config& config_;
  const std::vector<std::string>& hosts_;
  StopSignals& signals_;
  const RankDevice& where_;
  Phases phases_;
  bool first_;  // rank 0 prints and keeps the run folder
  RunFolder folder_;
  ModelSpec spec_;
  std::unique_ptr<Tokenizer> tokenizer_;
  TextFiles tokenizer_files_;  // copied into checkpoints, which stand alone
  std::optional<Log> log_;
  std::optional<Mesh> mesh_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Loader> loader_;  // on the first rank of each replica
  std::unique_ptr<Validation> validation_;
  std::optional<CheckpointReader> resumed_;  // until its tensors are read
  std::vector<std::string> notes_;           // to be said once there is a log
  RunState state_;
  int64_t tokens_per_update_ = 0, all_updates_ = 0, saved_update_ = -1;
  bool stop_ = false;
  Clock::time_point started_ = Clock::now(), told_ = started_;
};

Run::Run(Communicator& world, const Config& config, const std::vector<std::string>& hosts, StopSignals& signals,
         const RankDevice& where)
    : world_(world),
      config_(config),
      hosts_(hosts),
      signals_(signals),
      where_(where),
      phases_(world, config.parallel.timeouts),
      first_(world.rank() == 0),
      folder_(config.run.folder()) {}

void Run::say(const std::string& text) const {
  if (log_) log_->info(text);
  if (!first_) return;
  fmt::print("{}\n", text);
  std::fflush(stdout);
}

void Run::status(const std::string& state, const std::string& reason, int code) {
  if (first_) folder_.set_status({state, reason, code, state_.run.updates});
  told_ = Clock::now();
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
  notes_ = std::move(start.notes);
  if (start.checkpoint.empty()) return;
  together(world_, [&] {
    resumed_.emplace(start.checkpoint);
    state_ = parse_state(*resumed_);
    ++state_.restart;
    changes_on_resume(config_of_checkpoint(*resumed_), config_, resumed_->folder().string());
    if (first_) require_tokenizer_of(resumed_->folder(), tokenizer_files_, config_.where);
    bool own = fs::weakly_canonical(resumed_->folder()).parent_path() == fs::weakly_canonical(folder_.checkpoints());
    if (own) saved_update_ = state_.run.updates;
  });
}

/// Opens all data before anything is written, so that what is missing or broken is found first.
void Run::open_data() {
  mesh_.emplace(world_, config_.parallel.vertex);
  require_same_data(world_, hosts_, config_, /*reads=*/mesh_->vp_rank == 0);
  state_.seed = config_.run.seed;
  if (!resumed_)
    state_.streams = config_.data.streams.value_or(default_streams(config_.train.global_batch, mesh_->dp_size));
  together(world_, [&] {
    if (state_.streams % mesh_->dp_size != 0)
      throw ConfigError(fmt::format("{}: {} replicas do not divide the run's {} data streams", config_.where,
                                    mesh_->dp_size, state_.streams));
    if (mesh_->vp_rank != 0) return;
    LoaderOptions options{config_.run.seed, config_.data.sequence_length, config_.data.packing,
                          config_.train.global_batch, state_.streams};
    loader_ =
        std::make_unique<Loader>(sources(config_.data.train), *tokenizer_, options, mesh_->dp_rank, mesh_->dp_size);
    if (resumed_) loader_->restore(state_.stream_states);
  });
  together(world_, [&] { validation_ = std::make_unique<Validation>(config_, *tokenizer_, *mesh_); });
  state_.stream_states.clear();
}

void Run::open_folder() {
  std::string picture = draw_topology(spec_.graph);
  const DeviceSpec device = device_spec(machine_of(where_.name(), hosts_));
  for (size_t stage = state_.stage; stage < config_.train.stages.size(); ++stage)
    picture += stage_table(config_, spec_, world_.size(), config_.train.stages[stage], device);
  together(world_, [&] {
    if (!first_) return;
    folder_.open(config_, picture);
    folder_.cut_metrics(state_.run.updates);
    clean_partial(folder_.checkpoints());
    folder_.set_damaged_aside(state_.run.updates);
  });
  log_.emplace(folder_.log(world_.rank()));
  status("starting");
  for (const std::string& note : notes_) say(note);
  std::string hosts = hosts_.front() + (hosts_.back() == hosts_.front() ? "" : " … " + hosts_.back());
  say(fmt::format("run {} · LibTorch {} · {} ranks on {}\n{}{}tokenizer {} · {} ids", folder_.path().string(),
                  TORCH_VERSION, world_.size(), hosts, picture, parameter_table(spec_, config_.train.stages),
                  tokenizer_->name(), tokenizer_->vocabulary()));
}

void Run::build_network() {
  engine_ = std::make_unique<Engine>(spec_.shape, spec_.graph, at::TensorOptions(spec_.dtype).device(where_.device),
                                     config_.train.optimizer, *mesh_, engine_options(config_.parallel));
  if (resumed_) return;
  // Master weights stand from here on, so that the backbone's are not rounded to bf16 first.
  engine_->begin_stage(parse_trains(config_.train.stages.front()));
  engine_->initialize(config_.run.seed);
  together(world_, [&] { load_backbones(engine_->optimizer(), spec_); });
}

void Run::begin_stage() {
  const StageConfig& stage = config_.train.stages[state_.stage];
  engine_->begin_stage(parse_trains(stage));
  if (resumed_) {
    together(world_, [&] { load_checkpoint(*resumed_, engine_->optimizer(), /*moments=*/true); });
    say(fmt::format("resumed from {} at update {}", resumed_->folder().string(), state_.run.updates));
    resumed_.reset();
  }
  say(fmt::format(
      "stage {} ({} of {}) · trains {} parameters", stage.name, state_.stage + 1, config_.train.stages.size(),
      short_count(static_cast<double>(count_parameters(spec_.shape, spec_.graph).trainable(parse_trains(stage))))));
}

TokenBatch Run::next_batch() {
  TokenBatch batch;
  if (loader_) batch = loader_->next();
  share_batch(batch, config_.train.global_batch / mesh_->dp_size, config_.data.sequence_length + 1, *mesh_->vertex);
  return batch;
}

void Run::one_update(const Schedule& schedule) {
  phases_.enter(Phase::step, state_.run.updates + 1);
  auto start = Clock::now();
  TokenBatch batch = next_batch();
  StepReport report;
  report.data_wait = seconds_since(start);
  at::Tensor hash = at::full({1}, loader_ ? static_cast<int64_t>(batch_hash(batch)) : 0, at::kLong);
  world_.all_reduce(hash);
  UpdateOptions options;
  options.lr = learning_rates(config_.train.stages[state_.stage]);
  for (auto& [part, rate] : options.lr) rate *= schedule.factor(state_.in_stage);
  options.clip = config_.train.clip;
  options.micro_batch = config_.train.micro_batch;
  options.loss = {config_.train.loss.label_smoothing, config_.train.loss.epsilon};
  options.stop = signals_.received() != 0 || out_of_time();
  UpdateResult result;
  try {
    result = engine_->update(to_sequence(batch), options);
  } catch (const NonFiniteError& error) {
    throw AgreedError(1, fmt::format("update {}: {}", state_.run.updates + 1, error.what()));
  }
  stop_ = result.stop;
  for (Progress* progress : {&state_.run, &state_.in_stage}) {
    ++progress->updates;
    progress->tokens += tokens_per_update_;
  }
  report.result = result;
  report.lr = options.lr;
  report.batch_hash = static_cast<uint64_t>(hash.item<int64_t>());
  report.seconds = seconds_since(start);
  report.memory_gib = peak_memory_gib(where_);
  report.tokens_per_update = tokens_per_update_;
  report.all_updates = all_updates_;
  if (first_ && due(config_.log.every)) {
    say(report.line(state_));
    if (result.targets == 0)
      say("warning: this batch has nothing to learn from; look at data.train (of messages, what the assistant says)");
    folder_.add_metrics(report.metrics(state_));
  }
  // A status.json that is much older is of a run that is dead.
  constexpr double heartbeat = 10;
  if (first_ && (due(config_.log.every) || seconds_since(told_) > heartbeat)) status("running");
}

bool Run::due(const std::optional<Span>& every) const {
  return every && state_.run.updates % std::max<int64_t>(1, static_cast<int64_t>(every->value)) == 0;
}

void Run::validate() {
  if (validation_->empty()) return;
  phases_.enter(Phase::evaluation, state_.run.updates);
  ValidationResult result = validation_->run(*engine_);
  if (!first_) return;
  say(fmt::format("update {} · validation loss {:.4f}", state_.run.updates, result.loss));
  folder_.add_metrics(
      {{"update", state_.run.updates}, {"validation_loss", result.loss}, {"validation", result.by_source}});
}

void Run::save() {
  if (saved_update_ == state_.run.updates) return;
  phases_.enter(Phase::checkpoint, state_.run.updates);
  auto start = Clock::now();
  std::vector<StreamState> streams;
  if (loader_) streams = loader_->state();
  fs::path folder = save_checkpoint(
      folder_.checkpoints(), *engine_, state_, streams, to_yaml(config_),
      config_.train.stages[std::min<size_t>(state_.stage, config_.train.stages.size() - 1)].name, tokenizer_files_);
  saved_update_ = state_.run.updates;
  if (first_) {
    std::optional<int64_t> keep_every;
    if (config_.checkpoint.keep_every) keep_every = static_cast<int64_t>(config_.checkpoint.keep_every->value);
    keep_newest(folder_.checkpoints(), config_.checkpoint.keep, keep_every);
  }
  say(fmt::format("saved {} in {:.1f} s", folder.string(), seconds_since(start)));
}

/// Trains the present stage to its end; false when a signal stopped it.
bool Run::train_stage() {
  Schedule schedule(config_.train.stages[state_.stage], tokens_per_update_);
  while (!schedule.done(state_.in_stage)) {
    one_update(schedule);
    if (due(config_.evaluate.every) || state_.run.updates == all_updates_) validate();
    if (stop_ || due(config_.checkpoint.every)) save();
    if (stop_) return false;
  }
  return true;
}

bool Run::out_of_time() const {
  return config_.run.time_limit && seconds_since(started_) > config_.run.time_limit->value;
}

/// Tells why the ranks stop: the signal that one of them got, or the time limit, which counts as TERM.
int Run::stop() {
  at::Tensor received = at::full({1}, signals_.received(), at::kLong);
  world_.all_reduce(received, Reduction::max);
  const int signal = static_cast<int>(received.item<int64_t>());
  const std::string reason = signal == 0 ? "run.time_limit" : fmt::format("signal {}", StopSignals::name(signal));
  const int code = 128 + (signal == 0 ? SIGTERM : signal);
  status("stopped", reason + ", saved", code);
  say(fmt::format("stopped by {} at update {}; start again to go on", reason, state_.run.updates));
  return code;
}

int Run::train_stages() {
  int stages = static_cast<int>(config_.train.stages.size());
  all_updates_ = state_.run.updates;
  for (int stage = state_.stage; stage < stages; ++stage)
    all_updates_ += Schedule(config_.train.stages[stage], tokens_per_update_)
                        .updates_left(stage == state_.stage ? state_.in_stage : Progress{});
  while (state_.stage < stages) {
    begin_stage();
    status("running");
    if (!train_stage()) return stop();
    phases_.enter(Phase::start, state_.run.updates);
    ++state_.stage;
    state_.in_stage = {};
  }
  state_.stage = stages - 1;  // a finished run stands at the end of its last stage
  state_.in_stage.updates = Schedule(config_.train.stages.back(), tokens_per_update_).updates();
  state_.in_stage.tokens = state_.in_stage.updates * tokens_per_update_;
  save();
  status("done");
  say(fmt::format("done · {} updates · {} in {}", state_.run.updates,
                  short_count(static_cast<double>(state_.run.tokens), "t"), folder_.path().string()));
  return 0;
}

/// What this rank knows of the end of a run that fails: its log, and status.json, where the first cause stays.
void Run::record(const std::exception& error) const {
  if (log_) log_->error(fmt::format("{}, in {}: {}", here(), phases_.describe(), sentence(error)));
  const bool agreed = dynamic_cast<const AgreedError*>(&error) != nullptr;
  const bool told = dynamic_cast<const RankFailed*>(&error) != nullptr;
  // A rank that fails alone writes it itself; rank 0 what all agree on, and what it is told, in case that the rank
  // which failed cannot write.
  if ((agreed || told) && !first_) return;
  if (!folder_.exists() || (log_ && !agreed && folder_.status().state == "failed")) return;
  const bool own = !agreed && dynamic_cast<const CommunicationError*>(&error) == nullptr && world_.size() > 1;
  // Refused before it began, it leaves the run that lies there where it stood.
  folder_.set_status({"failed", own ? fmt::format("{}: {}", here(), sentence(error)) : sentence(error),
                      exit_code(error), log_ ? state_.run.updates : folder_.status().update});
}

int Run::train() {
  try {
    phases_.enter(Phase::start, 0);
    prepare();
    choose_start();
    open_data();
    build_network();
    open_folder();
    return train_stages();
  } catch (const std::exception& error) {
    try {
      record(error);
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
