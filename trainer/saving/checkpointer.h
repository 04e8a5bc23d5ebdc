#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/loader.h"
#include "trainer/checkpoint/checkpoint_writer.h"
#include "trainer/console.h"
#include "trainer/engine.h"
#include "trainer/run/fault_hook.h"
#include "trainer/run/state.h"
#include "trainer/saving/frozen_weights.h"
#include "trainer/saving/snapshot.h"
#include "trainer/tokenizer_files.h"

namespace lmnet {

/// What every checkpoint of a run has beside its tensors and its state; needed on rank 0.
struct CheckpointTexts {
  std::string config_yaml;
  TextFiles tokenizer = {};         // its files, so that the checkpoint stands alone
  std::string config_hash = "";     // identity_hash()
  std::string tokenizer_hash = "";  // Tokenizer::hash()
};

/// Saves a run while it goes on: a save begins between two updates, a thread writes, and what it has come to rides on
/// the norm's all-reduce of the updates that follow, so that all ranks hear of it at the same update. Training may be
/// `checkpoint.ahead` updates ahead of a checkpoint that is on its way; the one after these waits for it, so that a
/// kill never costs more than an interval and these. A save that fails leaves the checkpoints that are there and the
/// run as they are; the next one that is due tries again.
///
/// Every rank calls the same in the same order.
class Checkpointer {
 public:
  using Say = std::function<void(const std::string&)>;
  /// Throws CheckpointError where the folder of the checkpoints is not this run's any more.
  using RequireOurs = std::function<void()>;
  /// `engine` outlives it; `say` tells people what came of a save. `require_ours` is called by rank 0, on any thread,
  /// before it makes or removes a checkpoint.
  Checkpointer(
      Engine& engine, const CheckpointConfig& config, std::filesystem::path dir, CheckpointTexts texts, Say say,
      RequireOurs require_ours = [] {});
  /// Gives up a save that is on its way; what it has written so far is no checkpoint.
  ~Checkpointer();

  /// What need not be written with every checkpoint. After the weights are loaded, before the first save.
  void refer_to(FrozenWeights frozen) { frozen_ = std::move(frozen); }

  /// `begin_task` makes the bar of a save, on this rank.
  using BeginTask = std::function<Advance(const std::string& name)>;
  void show_with(BeginTask begin_task) { begin_task_ = std::move(begin_task); }

  /// Begins to save the run as it is now. While another save is on its way, waits for that or does nothing
  /// (`checkpoint.busy`). `streams`: those that this rank reads; `validation_loss`: measured at this update.
  /// Collective; throws AgreedError where a save fails and `checkpoint.on_failure` is stop.
  void save(const RunState& state, const std::vector<StreamState>& streams, const std::string& stage_name,
            std::optional<double> validation_loss = {});
  /// The same where the run is about to end: nothing is left out, and the checkpoint is complete afterwards. Throws
  /// AgreedError where it is not.
  void save_last(const RunState& state, const std::vector<StreamState>& streams, const std::string& stage_name,
                 std::optional<double> validation_loss = {});

  /// Waits for a save that is on its way, to its end. Collective; throws as save().
  void settle();

  /// What this rank tells the others along with an update, and what all have told. Throws AgreedError for a save that
  /// has failed where `checkpoint.on_failure` is stop.
  SaveVote vote();
  void take(const SaveVote& sum);

  /// Whether `update` is not to be made yet: it would be too far ahead of the checkpoint that is on its way. The same
  /// on all ranks.
  bool holds(int64_t update) const;
  /// Waits until it does not, and returns how many seconds that took. Collective; throws as take().
  double hold(int64_t update);
  /// To be called before a value changes: returns when this rank's are written or copied. Local.
  void before_change();

  /// The update of the newest complete checkpoint; of a resumed run, of the one that it came from.
  std::optional<int64_t> saved() const { return saved_; }
  void resumed_at(int64_t update) { saved_ = update; }
  /// Seconds that the longest save took, without the updates beside which it was written.
  double longest() const { return longest_; }

 private:
  struct Saving;
  void begin(const RunState& state, const std::vector<StreamState>& streams, Manifest manifest, bool beside);
  SavePoint save_point(int64_t update);
  Manifest manifest(const RunState& state, const std::string& stage_name, std::optional<double> validation_loss) const;
  bool lacks_copy();
  void require_room();
  bool stands() const;
  void await_step();
  void go_on();
  void fail(const std::string& reason);
  Communicator& world() const { return *engine_.mesh().world; }

  Engine& engine_;
  CheckpointConfig config_;
  std::filesystem::path dir_;
  CheckpointTexts texts_;
  Say say_;
  RequireOurs require_ours_;
  BeginTask begin_task_ = [](const std::string&) -> Advance { return [](int64_t, int64_t) {}; };
  FaultHook faults_;
  FrozenWeights frozen_;
  std::unique_ptr<Saving> saving_;
  std::optional<int64_t> saved_;
  double longest_ = 0;
  std::string failure_;     // of the last save, if it failed
  bool leftovers_ = false;  // of it, on rank 0
};

/// Saves the engine under `dir` and waits for it, all ranks together. Either all ranks return the folder or all throw
/// AgreedError.
std::filesystem::path save_checkpoint(const std::filesystem::path& dir, Engine& engine, const RunState& state,
                                      const std::vector<StreamState>& streams, const std::string& config_yaml,
                                      const std::string& stage_name, const TextFiles& tokenizer = {});

}  // namespace lmnet
