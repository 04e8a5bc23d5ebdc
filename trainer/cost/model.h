#pragma once
#include <cstdint>
#include <vector>

#include "parallel/plan.h"
#include "trainer/config/config.h"
#include "trainer/model_spec.h"

namespace lmnet {

// What a stage costs each rank, by arithmetic alone: no tensor is made, so that 512 ranks of a large network are
// counted in a fraction of a second. Ranks of equal vp_rank in different replicas cost the same.

/// How a step goes through the network.
struct StepShape {
  int64_t rows = 1;           // of a replica in one forward: train.micro_batch
  int64_t micro_batches = 1;  // forwards of a replica in one step
  int64_t tokens = 1;         // of a row
  bool overlap = true;        // exchanges in pieces, reduction beside the backward pass
  bool sharded = true;        // ZeRO-1
  bool gpu = false;           // the head's logits are held in larger pieces there
};
StepShape step_shape(const Config& config, int replicas, bool gpu);

/// One level on one rank. A parameter belongs to the level that uses it first; embeddings to the first level of all,
/// input edges to the first level that those beside them in a storage feed; edges to the level that they leave.
struct LevelCost {
  int64_t vertices = 0, rows = 0;                // what of a micro-batch runs here; rows of all its vertices together
  int64_t parameters = 0, trainable = 0;         // held here
  double forward_flops = 0, backward_flops = 0;  // of a micro-batch
  double activations = 0;                        // bytes kept from forward to backward
  double gradients = 0;                          // bytes, whole on every holder
  double optimizer = 0;                          // bytes of master weights and moments
  double messages = 0;                           // bytes to other ranks in a step, both ways
  double reduced = 0;                            // elements of gradients handed to other ranks in a step
  double reduction = 0;                          // bytes of them and of new values
};

/// Bytes of one rank at the moment when it holds most.
struct MemoryCost {
  double weights = 0;      // in the compute dtype
  double gradients = 0;    // fp32 (fp64), whole on every holder
  double optimizer = 0;    // master weights (bf16) and two moments; sharded over the replica group
  double activations = 0;  // kept by the walk between forward and backward: level inputs, what autograd saves, messages
  double working = 0;      // temporaries at that moment: backward of a block, loss, exchange, reduction
  double total() const { return weights + gradients + optimizer + activations + working; }
};

struct RankCost {
  std::vector<LevelCost> levels;  // and the head
  MemoryCost memory;
};

/// What all ranks wait for in one level: the most that one of them has to do.
struct PieceCost {
  double forward_flops = 0, backward_flops = 0;
  double weight_bytes = 0;  // read by a forward
};

struct StageCost {
  std::vector<RankCost> ranks;                   // by vp_rank
  std::vector<std::vector<PieceCost>> pieces;    // [piece][level]
  double forward_flops = 0, backward_flops = 0;  // of a micro-batch of one replica
  /// How much faster than one rank a replica is if only computing took time: all work over the sum of the fullest
  /// rank's work in each level (and piece). With pieces the levels of each are laid out by themselves.
  double ideal_speed_up() const;
  /// The rank that needs most memory.
  int fullest() const;
};

StageCost cost_of(const ModelSpec& spec, const Plan& plan, const Trains& trains, const StepShape& step);

}  // namespace lmnet
