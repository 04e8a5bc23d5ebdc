#include "trainer/saving/checkpointer.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/checkpoint/errors.h"
#include "trainer/checkpoint/file_io.h"
#include "trainer/checkpoint/keeping.h"
#include "trainer/clock.h"
#include "trainer/describe.h"
#include "trainer/dtype.h"
#include "trainer/saving/background_work.h"
#include "trainer/saving/snapshot.h"
#include "trainer/together.h"

namespace lmnet {
namespace {

namespace fs = std::filesystem;

/// What a rank's files take beside the tensors, at most: their heads, and a little for each tensor.
constexpr uint64_t kRoomForRank = uint64_t{64} << 10, kRoomForTensor = 1024, kFilesOfRank = 8;

/// Seconds of waiting from which people should hear how to avoid it.
constexpr double kTellHeld = 1;

std::vector<StreamState> gather_streams(Communicator& world, const std::vector<StreamState>& own) {
  nlohmann::ordered_json mine = nlohmann::ordered_json::object();
  for (const StreamState& stream : own) mine[std::to_string(stream.stream)] = stream.position;
  std::vector<StreamState> all;
  for (const auto& of_rank : gather_json(world, mine))
    for (const auto& [stream, position] : of_rank.items())
      all.push_back({std::stoll(stream), position.get<std::string>()});
  return all;
}

Keeping keeping_of(const CheckpointConfig& config) {
  Keeping keeping{config.keep, std::nullopt, config.keep_best};
  if (config.keep_every) keeping.every = static_cast<int64_t>(config.keep_every->value);
  return keeping;
}

/// From here on this thread works only while the others leave the processor to it.
void step_back() {
  constexpr int kNice = 10;
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kNice);
}

}  // namespace

/// A checkpoint on its way. Each step begins on all ranks when all have finished the one before.
struct Checkpointer::Saving {
  enum class Step {
    writing,     // every rank its files
    publishing,  // rank 0 makes a checkpoint of them
    checking,    // every rank reads its files again
    keeping,     // rank 0 lets older checkpoints go
  };

  RunState state;
  Manifest manifest;
  CheckpointWriter writer;
  std::optional<CheckpointWriter> copy;  // of frozen weights, made with this checkpoint
  std::map<std::string, ManifestReference> references;
  Snapshot snapshot;
  std::map<std::string, std::string> texts;
  uint64_t bytes = 0;                 // of all ranks' tensors
  std::atomic<uint64_t> written = 0;  // of this rank's
  Advance advance;                    // of the bar, in MB
  Clock::time_point start = Clock::now();
  bool beside;        // the training, which goes on meanwhile
  double held = 0;    // seconds that updates waited for it
  double worked = 0;  // and that this rank worked on it
  std::string note;   // what went wrong beside it, on rank 0
  Step step = Step::writing;
  BackgroundWork work;  // this rank's of the step; last, so that it ends first

  Saving(RunState run, Manifest head, CheckpointWriter to, std::vector<SavedTensor> tensors, Snapshot::Copies copies,
         bool beside_training)
      : state(std::move(run)),
        manifest(std::move(head)),
        writer(std::move(to)),
        snapshot(std::move(tensors), copies),
        beside(beside_training) {}

  void write(const std::stop_token& asked, const SavePoint& at_point, std::map<std::string, uint32_t>& checksums) {
    struct LetGo {
      Snapshot& snapshot;
      ~LetGo() { snapshot.let_go(); }
    } let_go{snapshot};
    try {
      write_files(asked, at_point, checksums);
    } catch (...) {  // rank 0 removes the folder as soon as it hears of this
      writer.discard();
      if (copy) copy->discard();
      throw;
    }
  }

  void write_files(const std::stop_token& asked, const SavePoint& at_point,
                   std::map<std::string, uint32_t>& checksums) {
    if (beside) step_back();
    at_point("save-snapshot");
    for (size_t i = 0; i < snapshot.tensors().size() && !asked.stop_requested(); ++i) {
      const SavedTensor& tensor = snapshot.tensors()[i];
      const bool refers = !tensor.reference.empty();
      const std::span<const std::byte> content = snapshot.fetch(i, checksums, asked);
      if (!tensor.kind.empty()) (refers ? *copy : writer).add(tensor.kind, tensor.what, content);
      written += content.size();
      if (refers) writer.refer(tensor.what, tensor.reference, references.at(tensor.reference));
    }
    snapshot.let_go();
    if (asked.stop_requested()) return;
    if (copy) copy->hand_in(asked);
    if (!asked.stop_requested()) writer.hand_in(asked);
  }

  /// On the thread that trains, while the files are written; `over` takes the bar away.
  void show(bool over = false) const {
    constexpr uint64_t megabyte = 1'000'000;
    const auto all = static_cast<int64_t>(snapshot.size() / megabyte) + 1;
    if (step == Step::writing) advance(over ? all : static_cast<int64_t>(written / megabyte), all);
  }

  /// The copy comes first: a checkpoint never refers to what is not there.
  void publish() {
    if (copy) {
      Manifest head = manifest;
      head.trains.clear();
      note = copy->finish(std::move(head), {});
    }
    if (std::string last = writer.finish(manifest, texts); !last.empty()) note = std::move(last);
  }

  void check(const std::stop_token& asked) const {
    if (copy) copy->check(asked);
    writer.check(asked);
  }

  /// Rank 0, after a failure.
  void remove() const {
    remove_path(writer.temporary());  // on a full disk it is in the way
    if (step == Step::checking) set_aside(writer.folder());
    if (!copy) return;
    remove_path(copy->temporary());
    remove_path(copy->folder());
  }
};

Checkpointer::Checkpointer(Engine& engine, const CheckpointConfig& config, fs::path dir, CheckpointTexts texts, Say say,
                           RequireOurs require_ours)
    : engine_(engine),
      config_(config),
      dir_(std::move(dir)),
      texts_(std::move(texts)),
      say_(std::move(say)),
      require_ours_(std::move(require_ours)),
      faults_(std::getenv("LMNET_FAULT"), world().rank()) {}

Checkpointer::~Checkpointer() = default;

void Checkpointer::save(const RunState& state, const std::vector<StreamState>& streams, const std::string& stage_name,
                        std::optional<double> validation_loss) {
  if (!stands() && config_.busy == "skip") {
    say_(fmt::format("no checkpoint of update {}: that of update {} is still being written", state.run.updates,
                     saving_->state.run.updates));
    return;
  }
  settle();
  if (saved_ == state.run.updates) return;
  begin(state, streams, manifest(state, stage_name, validation_loss), /*beside=*/config_.async);
  if (!config_.async) settle();
}

void Checkpointer::save_last(const RunState& state, const std::vector<StreamState>& streams,
                             const std::string& stage_name, std::optional<double> validation_loss) {
  settle();
  if (saved_ == state.run.updates) return;
  begin(state, streams, manifest(state, stage_name, validation_loss), /*beside=*/false);
  settle();
  if (saved_ != state.run.updates) throw AgreedError(exit_code(CheckpointError("")), failure_);
}

Manifest Checkpointer::manifest(const RunState& state, const std::string& stage_name,
                                std::optional<double> validation_loss) const {
  Manifest manifest;
  manifest.update = state.run.updates;
  manifest.stage = state.stage;
  manifest.stage_name = stage_name;
  manifest.tokens = static_cast<uint64_t>(state.run.tokens);
  manifest.topology = engine_.network().graph().topology();
  manifest.precision = dtype_name(engine_.network().dtype());
  for (const auto& [part, steps] : engine_.optimizer().steps()) manifest.trains.emplace_back(to_string(part));
  manifest.vertex_parallel = engine_.mesh().vp_size;
  manifest.data_parallel = engine_.mesh().dp_size;
  manifest.zero = engine_.options().sharded ? 1 : 0;
  manifest.plan_hash = fmt::format("{:016x}", engine_.plan().hash());
  manifest.config_hash = texts_.config_hash;
  manifest.tokenizer_hash = texts_.tokenizer_hash;
  manifest.validation_loss = validation_loss;
  return manifest;
}

SavePoint Checkpointer::save_point(int64_t update) {
  return [this, update](const char* point) {
    faults_.enter(point, update);
    if (world().rank() == 0) require_ours_();
  };
}

void Checkpointer::begin(const RunState& state, const std::vector<StreamState>& streams, Manifest manifest,
                         bool beside) {
  const SavePoint at_point = save_point(state.run.updates);
  engine_.optimizer().require();  // its values are whole from here on
  const bool makes_copy = lacks_copy();
  saving_ = std::make_unique<Saving>(
      state, std::move(manifest), CheckpointWriter(dir_ / folder_name(state.run.updates), world().rank(), at_point),
      saved_tensors(engine_.optimizer(), engine_.mesh(), frozen_.reference_of, makes_copy ? kFrozenCopy : ""),
      beside && config_.ahead > 0 ? Snapshot::Copies::all : Snapshot::Copies::one, beside);
  Saving& saving = *saving_;
  saving.advance = begin_task_("MB saved");
  saving.references = frozen_.references;
  if (makes_copy) {
    const std::string name = frozen_name(state.run.updates);
    saving.references[kFrozenCopy] = {"checkpoint", "../" + name, ""};
    saving.copy.emplace(dir_ / name, world().rank(), at_point);
  }
  saving.state.stream_states = gather_streams(world(), streams);
  saving.texts = texts_.tokenizer;
  saving.texts["config.yaml"] = texts_.config_yaml;
  saving.texts["state.json"] = to_json(saving.state, engine_.network().shape(), engine_.optimizer().steps());
  try {
    require_room();
  } catch (const AgreedError& error) {
    return fail(error.what());
  }
  saving.work.start(
      [&saving, at_point, this](const std::stop_token& asked) { saving.write(asked, at_point, frozen_.checksums); });
}

/// Whether some rank holds frozen weights that are to be copied and are not yet.
bool Checkpointer::lacks_copy() {
  const Optimizer& optimizer = engine_.optimizer();
  const auto is_copied = [&](const auto& entry) {
    return entry.second == kFrozenCopy && !optimizer.ever_trained(entry.first);
  };
  at::Tensor lacks = at::full({1}, frozen_.references.contains(kFrozenCopy) ? 0 : 1, at::kLong);
  if (std::ranges::none_of(frozen_.reference_of, is_copied)) lacks.zero_();
  world().all_reduce(lacks, Reduction::max);
  return lacks.item<int64_t>() > 0;
}

/// Room for the files of all ranks, and an empty folder for them.
void Checkpointer::require_room() {
  const uint64_t own = saving_->snapshot.size() + kRoomForRank + kRoomForTensor * saving_->snapshot.tensors().size();
  at::Tensor sums = at::tensor({static_cast<int64_t>(own), static_cast<int64_t>(saving_->snapshot.size())}, at::kLong);
  world().all_reduce(sums);
  saving_->bytes = static_cast<uint64_t>(sums[1].item<int64_t>());
  std::map<std::string, uint64_t> files;
  for (const SavedTensor& tensor : saving_->snapshot.tensors())
    if (!tensor.kind.empty()) files[tensor.kind] += tensor.what.bytes() + kRoomForTensor;
  together(world(), [&] {
    const bool first = world().rank() == 0;
    for (const auto& [kind, bytes] : files) require_file_size(dir_, bytes);
    // Whatever disk a rank sees there, its own files must fit.
    require_space(dir_, first ? static_cast<uint64_t>(sums[0].item<int64_t>()) : own,
                  first ? kFilesOfRank * static_cast<uint64_t>(world().size()) : kFilesOfRank);
    if (!first) return;
    require_ours_();
    if (leftovers_) clean_partial(dir_);
    leftovers_ = false;
    saving_->writer.prepare();
    if (saving_->copy) saving_->copy->prepare();
  });
}

/// Whether there is none on its way of which a kill would take anything.
bool Checkpointer::stands() const {
  return !saving_ || saving_->step > Saving::Step::publishing;
}

bool Checkpointer::holds(int64_t update) const {
  return !stands() && update - saving_->state.run.updates > config_.ahead;
}

double Checkpointer::hold(int64_t update) {
  const auto start = Clock::now();
  while (holds(update)) await_step();
  const double seconds = seconds_since(start);
  if (saving_) saving_->held += seconds;
  return seconds;
}

void Checkpointer::before_change() {
  if (saving_) saving_->snapshot.before_change();
}

SaveVote Checkpointer::vote() {
  if (saving_) saving_->show();
  if (!saving_ || !saving_->work.over()) return {};
  return {1, saving_->work.failure().empty() ? 0 : 1};
}

void Checkpointer::take(const SaveVote& sum) {
  if (sum.finished < world().size()) return;
  if (sum.failed > 0) {
    const std::vector<std::string> failures = gather_texts(world(), saving_->work.failure());
    for (size_t rank = 0; rank < failures.size(); ++rank)
      if (!failures[rank].empty()) return fail(fmt::format("rank {}: {}", rank, failures[rank]));
  }
  go_on();
}

/// Begins the next step.
void Checkpointer::go_on() {
  using enum Saving::Step;
  Saving& saving = *saving_;
  const bool first = world().rank() == 0;
  saving.worked += saving.work.take_seconds();
  switch (saving.step) {
    case writing:
      saving.show(/*over=*/true);
      saving.step = publishing;
      if (first) saving.work.start([&](const std::stop_token&) { saving.publish(); });
      return;
    case publishing:
      saving.step = checking;
      return saving.work.start([&](const std::stop_token& asked) {
        if (saving.beside) step_back();
        saving.check(asked);
      });
    case checking:
      saving.step = keeping;
      saved_ = saving.state.run.updates;
      frozen_.references = saving.references;
      longest_ = std::max(longest_, saving.beside ? std::max(saving.worked, saving.held) : seconds_since(saving.start));
      say_(fmt::format("saved {} · {} in {:.1f} s{}", saving.writer.folder().string(),
                       short_count(static_cast<double>(saving.bytes), "B"), seconds_since(saving.start),
                       saving.held < kTellHeld
                           ? ""
                           : fmt::format(", for which an update waited {:.1f} s (checkpoint.ahead: {})", saving.held,
                                         config_.ahead)));
      if (!first) return;
      return saving.work.start([&, this](const std::stop_token&) {
        try {
          require_ours_();
          keep_checkpoints(dir_, keeping_of(config_), save_point(saving.state.run.updates));
        } catch (const CheckpointError& error) {  // the new one stands all the same
          saving.note = error.what();
        }
      });
    case keeping:
      if (!saving.note.empty()) say_("warning: " + saving.note);
      saving_.reset();
  }
}

void Checkpointer::fail(const std::string& reason) {
  const int64_t update = saving_->state.run.updates;
  saving_->show(/*over=*/true);
  try {
    if (world().rank() == 0) {
      require_ours_();
      saving_->remove();
    }
  } catch (const CheckpointError&) {  // then the next save does it, or the next start
    leftovers_ = true;
  }
  saving_.reset();
  failure_ = fmt::format("the checkpoint of update {} was not saved: {}", update, reason);
  if (config_.on_failure == "stop") throw AgreedError(exit_code(CheckpointError("")), failure_);
  say_(fmt::format("warning: {}; the run goes on, and the next checkpoint that is due is tried again", failure_));
}

/// Waits for the present step on all ranks, and begins the next.
void Checkpointer::await_step() {
  while (!saving_->work.wait_for(std::chrono::milliseconds(100))) saving_->show();
  const SaveVote own = vote();
  at::Tensor sum = at::tensor({own.finished, own.failed}, at::kLong);
  world().all_reduce(sum);
  take({static_cast<int>(sum[0].item<int64_t>()), static_cast<int>(sum[1].item<int64_t>())});
}

void Checkpointer::settle() {
  while (saving_) await_step();
}

fs::path save_checkpoint(const fs::path& dir, Engine& engine, const RunState& state,
                         const std::vector<StreamState>& streams, const std::string& config_yaml,
                         const std::string& stage_name, const TextFiles& tokenizer) {
  CheckpointConfig keep_all;
  keep_all.keep = std::numeric_limits<int>::max();
  Checkpointer checkpointer(engine, keep_all, dir, {config_yaml, tokenizer}, [](const std::string&) {});
  checkpointer.save_last(state, streams, stage_name);
  return dir / folder_name(state.run.updates);
}

}  // namespace lmnet
