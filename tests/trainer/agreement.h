#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <iosfwd>
#include <map>
#include <string>
#include <vector>

#include "model/backbone.h"
#include "model/graph/graph.h"
#include "model/graph/layout.h"
#include "model/sequence.h"
#include "parallel/communicator.h"
#include "trainer/engine.h"

/// The decisive test: whatever the layout, training is what one rank does. Shared by ranks that are threads and ranks
/// that are MPI processes.
namespace lmnet::testing {

/// Which targets of a batch count.
enum class Mask {
  all,
  unequal,           // a different part of every row; some rows whole, some not at all
  every_second_row,  // the odd rows have none: with two replicas the second one has no target
  none,
};

struct Stage {
  Trains trains;
  int updates = 20;
};

/// A training run that every layout must repeat.
struct Case {
  std::string name;
  std::string topology = "1-2-1";  // or `skip`: an explicit graph
  GraphOptions options = {};
  bool tied = false;
  BackboneConfig::Family family = BackboneConfig::Family::qwen2;
  int64_t prefix = 0, classes = 0;
  std::vector<Stage> stages = {{{true, true, true, true}}};
  int64_t rows = 8;  // of the global batch
  int64_t micro_batch = 5;
  Mask mask = Mask::unequal;
  bool documents = false;  // several in a row
  LossRule rule = {};
  at::ScalarType dtype = at::kDouble;
};

/// A grid of ranks: replicas × ranks of a replica.
struct Grid {
  int data = 1, vertex = 1;
  EngineOptions parallel = {};
  std::string name() const;
};

/// How far a run may be from one rank's: largest difference over largest value.
struct Tolerance {
  double loss, gradient;
};
Tolerance tolerance_of(at::ScalarType dtype);

/// What one rank saw of a run.
struct Outcome {
  std::vector<double> losses, norms;  // of each update
  std::map<std::string, at::Tensor>
      gradients;                             // of the first update of each stage, summed; what trains and is held here
  std::map<std::string, at::Tensor> values;  // after the last update
};

constexpr double kClip = 0.5;

NetworkShape shape_of(const Case& run);
Graph graph_of(const Case& run);

/// The global batch of an update.
Sequence global_batch(const Case& run, int update);
/// The rows that replica `replica` of so many trains on.
Sequence rows_of_replica(const Sequence& batch, int replica, int replicas);

/// The learning rates of what trains.
std::map<Parameter::Part, double> rates(const Trains& trains);

/// Draws all weights: larger than a run does and nowhere 0 or 1, so that everything reaches everything.
void initialize(Engine& engine);

/// Trains on `world`, laid out as `grid`. Collective.
Outcome train(const Case& run, Communicator& world, const Grid& grid, int64_t micro_batch);

/// The same on one rank, the whole batch at once.
Outcome train_alone(const Case& run);

/// Each difference of `outcome` from `reference` beyond the tolerance: tensor or update, and error.
std::vector<std::string> differences(const Outcome& outcome, const Outcome& reference, Tolerance tolerance);

/// A case and the grids on which it must hold.
struct Trial {
  Case run;
  std::vector<Grid> grids;
};
/// For ranks that are threads: every case, on some grids, or on all with LMNET_ALL_TESTS=1 in the environment.
std::vector<Trial> trials();
/// For so many MPI processes: the matrix on all grids, and what differs most between ranks on one.
std::vector<Trial> mpi_trials(int ranks);
void PrintTo(const Trial& trial, std::ostream* out);

}  // namespace lmnet::testing
