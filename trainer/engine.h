#pragma once
#include <functional>
#include <map>
#include <memory>

#include "model/sequence.h"
#include "model/walk.h"
#include "parallel/mesh.h"
#include "parallel/plan.h"
#include "trainer/distributed_exchange.h"
#include "trainer/optimizer.h"

namespace lmnet {

/// What ranks have come to with a checkpoint that is written beside the updates (trainer/saving/checkpointer.h).
struct SaveVote {
  int finished = 0;  // this rank's part is over; summed over all ranks: how many are
  int failed = 0;    // and was in vain
};

/// What all ranks know after an update.
struct UpdateResult {
  double loss = 0;              // mean over the valid targets of the global batch (0 without any)
  double grad_norm = 0;         // before clipping, each parameter counted once
  int64_t targets = 0;          // valid targets of the global batch
  bool stop = false;            // some rank wants to stop
  SaveVote save = {};           // of all ranks
  double exchange_seconds = 0;  // this rank's, waiting for exchanges, reductions and gathers
};

/// How a replica and its copies work together.
struct EngineOptions {
  bool sharded = true;  // optimiser states over the replica groups (ZeRO-1)
  bool overlap = true;  // batches go in pieces; reductions run beside the backward pass
};

struct UpdateOptions {
  std::map<Parameter::Part, double> lr;
  double clip = 0;          // 0 = off
  int64_t micro_batch = 0;  // rows at a time; 0 = all
  LossRule loss = {};
  bool stop = false;                            // this rank was told to stop; rides on the norm's all-reduce
  SaveVote save = {};                           // this rank's; rides along too
  std::function<void()> before_change = [] {};  // called before the optimiser changes anything
};

/// What `parallel` of a config asks for.
EngineOptions engine_options(const ParallelConfig& parallel);

/// Loss sum and number of targets over all ranks.
struct LossSum {
  double loss = 0;
  int64_t targets = 0;
};

/// A loss or gradient that is not finite. Thrown on every rank, before any weight changes.
class NonFiniteError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Trains one replica's part of a network on one rank: the plan of the stage, the network's parts that this rank holds,
/// the walk with the distributed exchange, the reduction of gradients, the optimiser. Knows nothing of files.
class Engine {
 public:
  /// `options`: bf16, fp32 or fp64, on a device.
  Engine(const NetworkShape& shape, const Graph& graph, at::TensorOptions options, const OptimizerConfig& optimizer,
         Mesh& mesh, EngineOptions parallel = {});

  /// Draws every parameter from the seed by its name.
  void initialize(uint64_t seed);

  /// Throws ConfigError when nothing can train, or a tied head is named.
  void begin_stage(const Trains& trains);

  /// One update on this replica's rows of the global batch (the same on all ranks of the replica).
  UpdateResult update(const Sequence& batch, const UpdateOptions& options);

  /// The first half of update(): the gradients before clipping, left in the optimiser's buffers, each whole only where
  /// the optimiser is not sharded (Optimizer::visit puts them together).
  UpdateResult gradients(const Sequence& batch, int64_t micro_batch, bool stop = false, const LossRule& rule = {},
                         const SaveVote& save = {});
  /// The second half: clips them and changes the weights. Left out where an update is not to be made, on all ranks.
  void apply(const UpdateResult& result, const UpdateOptions& options);

  /// Loss over all ranks, each replica giving its own rows (possibly none).
  LossSum loss(const Sequence& batch);

  /// What the head reads, [R, T, D] on the network's device, at this rank's rows of the head, piece after piece.
  /// Without a vertex-parallel group: all rows.
  at::Tensor hidden(const Sequence& batch);
  /// The same in a generation: the tokens that follow those in `cache`, which is filled further (Walk::hidden). Without
  /// a vertex-parallel group only.
  at::Tensor hidden(const Sequence& batch, Cache& cache);
  /// Logits of vectors that the head reads: [M, D] → [M, V]. Up to kFewRows of them do not depend on their number.
  at::Tensor logits(const at::Tensor& hidden);

  Network& network() { return *network_; }
  Optimizer& optimizer() { return *optimizer_; }
  const Plan& plan() const { return *plan_; }
  Mesh& mesh() { return mesh_; }
  const EngineOptions& options() const { return parallel_; }

 private:
  void enter_stage(const Trains& trains);
  /// This rank's part of a batch of so many rows.
  const Itinerary& itinerary(int64_t rows);
  template <typename F>
  auto walk(const Sequence& sequence, LegHooks hooks, F&& run);

  Mesh& mesh_;
  EngineOptions parallel_;
  at::Device device_;
  Trains trains_;
  std::unique_ptr<Plan> plan_;
  std::unique_ptr<Network> network_;
  std::unique_ptr<Optimizer> optimizer_;
  std::map<int64_t, Itinerary> itineraries_;  // by rows, of the stage
  double exchange_seconds_ = 0;
};

}  // namespace lmnet
