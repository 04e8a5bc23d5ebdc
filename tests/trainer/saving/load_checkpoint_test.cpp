#include "trainer/saving/load_checkpoint.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cstdlib>

#include "parallel/thread_communicator.h"
#include "tests/trainer/agreement.h"
#include "tests/trainer/checkpoint/helpers.h"
#include "trainer/saving/checkpointer.h"

namespace lmnet::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

/// One engine on each rank of a grid.
void on_grid(const Case& run, const Grid& grid, const std::function<void(Engine&)>& body) {
  run_ranks(grid.data * grid.vertex, [&](Communicator& world) {
    Mesh mesh(world, grid.vertex);
    Engine engine(shape_of(run), graph_of(run), run.dtype, OptimizerConfig{}, mesh, grid.parallel);
    body(engine);
  });
}

double update(Engine& engine, const Case& run, int number) {
  const Mesh& mesh = engine.mesh();
  return engine
      .update(rows_of_replica(global_batch(run, number), mesh.dp_rank, mesh.dp_size),
              {.lr = rates(run.stages.front().trains), .clip = kClip, .micro_batch = run.micro_batch})
      .loss;
}

/// What each tensor is, as a whole: by name, dtype, shape and the CRC of its bytes.
std::map<std::string, std::string> fingerprints(const fs::path& checkpoint) {
  std::map<std::string, std::string> found;
  for (const auto& [name, tensor] : read_manifest(checkpoint / "manifest.json").tensors)
    found[name] = fmt::format("{} {} {}", at::toString(tensor.dtype), tensor.elements(), tensor.crc32c);
  return found;
}

/// Trains three updates on the grid and saves; returns the loss of the fourth.
double train_and_save(const Case& run, const Grid& grid, const fs::path& dir) {
  double loss = 0;
  on_grid(run, grid, [&](Engine& engine) {
    initialize(engine);
    engine.begin_stage(run.stages.front().trains);
    for (int number = 0; number < 3; ++number) update(engine, run, number);
    save_checkpoint(dir, engine, RunState{.run = {3, 3}}, {}, "{}\n", "all");
    const double next = update(engine, run, 3);
    if (engine.mesh().world->rank() == 0) loss = next;
  });
  return loss;
}

/// Loads on the grid, saves again without an update, and returns the loss of the fourth update.
double load_and_save(const Case& run, const Grid& grid, const fs::path& from, const fs::path& dir) {
  double loss = 0;
  on_grid(run, grid, [&](Engine& engine) {
    engine.begin_stage(run.stages.front().trains);
    load_checkpoint(CheckpointReader(from), engine.optimizer(), /*moments=*/true);
    save_checkpoint(dir, engine, RunState{.run = {3, 3}}, {}, "{}\n", "all");
    const double next = update(engine, run, 3);
    if (engine.mesh().world->rank() == 0) loss = next;
  });
  return loss;
}

std::vector<Grid> grids() {
  std::vector<Grid> grids;
  for (const auto& [data, vertex] : {std::pair{1, 1}, {2, 1}, {1, 2}, {2, 2}, {4, 1}, {1, 4}})
    for (const bool sharded : {true, false}) grids.push_back({data, vertex, {.sharded = sharded}});
  return grids;
}

bool everything() {
  const char* all = std::getenv("LMNET_ALL_TESTS");
  return all != nullptr && std::string(all) == "1";
}

class LoadCheckpoint : public ::testing::TestWithParam<Case> {};

/// Every layout is loaded by every other one (with LMNET_ALL_TESTS=1), or by three of them.
TEST_P(LoadCheckpoint, gives_every_layout_what_any_other_one_saved_to_the_last_bit) {
  const Case& run = GetParam();
  const TemporaryFolder folder;
  const std::vector<Grid> all = grids();
  for (size_t a = 0; a < all.size(); ++a) {
    const fs::path from = folder / fmt::format("from-{}", a) / "step-000000003";
    const double loss = train_and_save(run, all[a], from.parent_path());
    const auto saved = fingerprints(from);
    for (size_t b = 0; b < all.size(); ++b) {
      if (!everything() && (a + b) % 4 != 1) continue;
      SCOPED_TRACE(all[a].name() + " loaded by " + all[b].name());
      const fs::path again = folder / "again";
      EXPECT_NEAR(load_and_save(run, all[b], from, again), loss, 1e-5 * std::abs(loss));
      EXPECT_EQ(fingerprints(again / "step-000000003"), saved);
      fs::remove_all(again);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, LoadCheckpoint,
                         ::testing::Values(Case{.name = "bf16",
                                                .topology = "1-2-1",
                                                .tied = true,
                                                .stages = {{{true, true, true}}},
                                                .dtype = at::kBFloat16},
                                           Case{.name = "fp32_skips",
                                                .topology = "skip",
                                                .options = {.sharing = Sharing::none},
                                                .stages = {{{true, false, false, true}}},
                                                .dtype = at::kFloat}),
                         [](const auto& instance) { return instance.param.name; });

TEST(LoadCheckpointErrors, optimiser_states_of_other_parts_are_refused) {
  const TemporaryFolder folder;
  const Case run{.name = "", .topology = "1-2-1"};
  train_and_save(run, {}, folder.path());
  on_grid(run, {}, [&](Engine& engine) {
    engine.begin_stage({.edges = true});
    EXPECT_THAT(lmnet::error_of([&] {
                  load_checkpoint(CheckpointReader(folder / "step-000000003"), engine.optimizer(), /*moments=*/true);
                }),
                AllOf(HasSubstr("step-000000003"), HasSubstr("edges, embeddings, head, vertices"),
                      HasSubstr("edges train now")));
    EXPECT_NO_THROW(
        load_checkpoint(CheckpointReader(folder / "step-000000003"), engine.optimizer(), /*moments=*/false));
  });
}

}  // namespace
}  // namespace lmnet::testing
