#include "trainer/engine.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <mutex>
#include <set>

#include "model/graph/errors.h"
#include "parallel/thread_communicator.h"
#include "tests/trainer/agreement.h"

namespace lmnet::testing {
namespace {

constexpr Trains kEverything{true, true, true, true};

/// Engines of a case, one a rank; each has drawn its weights and begun the first stage.
class EngineTest : public ::testing::Test {
 protected:
  void SetUp() override { at::set_num_threads(1); }

  void run(const Grid& grid, const std::function<void(Engine&)>& body) const {
    run_ranks(grid.data * grid.vertex, [&](Communicator& world) {
      Mesh mesh(world, grid.vertex);
      Engine engine(shape_of(case_), graph_of(case_), case_.dtype, OptimizerConfig{}, mesh, grid.parallel);
      initialize(engine);
      engine.begin_stage(case_.stages.front().trains);
      body(engine);
    });
  }

  Sequence batch(const Engine& engine, const Mesh& mesh, int update = 0) const {
    return rows_of_replica(global_batch(case_, update), mesh.dp_rank, mesh.dp_size);
  }
  Sequence batch(Engine& engine, int update = 0) const { return batch(engine, engine.mesh(), update); }
  UpdateOptions options() const {
    return {.lr = rates(case_.stages.front().trains), .clip = kClip, .micro_batch = case_.micro_batch};
  }

  Case case_{.name = "", .topology = "2-3-1"};
};

std::map<std::string, at::Tensor> values(Engine& engine) {
  std::map<std::string, at::Tensor> values;
  engine.optimizer().visit(Optimizer::Kind::value,
                           [&](const std::string& name, const at::Tensor& value) { values[name] = value.clone(); });
  return values;
}

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.sizes() == b.sizes() && a.scalar_type() == b.scalar_type() &&
         std::memcmp(a.contiguous().const_data_ptr(), b.contiguous().const_data_ptr(), a.nbytes()) == 0;
}

void expect_same_bits(const std::map<std::string, at::Tensor>& a, const std::map<std::string, at::Tensor>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, value] : a) EXPECT_TRUE(same_bits(value, b.at(name))) << name;
}

TEST_F(EngineTest, stops_every_rank_before_weights_change_when_a_weight_of_one_is_not_finite) {
  for (double poison : {std::nan(""), HUGE_VAL}) {
    std::atomic<int> stopped = 0;
    run({2, 2}, [&](Engine& engine) {
      engine.update(batch(engine), options());
      if (engine.mesh().world->rank() == 3) {
        const std::string name = "edges.1.2-0.fc.weight";
        engine.optimizer().assign(name, at::full({8, 8}, poison));
      }
      auto before = values(engine);
      auto steps = engine.optimizer().steps();
      try {
        engine.update(batch(engine, 1), options());
      } catch (const NonFiniteError&) {
        ++stopped;
      }
      expect_same_bits(values(engine), before);
      EXPECT_EQ(engine.optimizer().steps(), steps);
    });
    EXPECT_EQ(stopped, 4) << poison;
  }
}

TEST_F(EngineTest, tells_every_rank_that_one_wants_to_stop) {
  run({2, 2}, [&](Engine& engine) {
    UpdateOptions update = options();
    EXPECT_FALSE(engine.update(batch(engine), update).stop);
    update.stop = engine.mesh().world->rank() == 1;
    EXPECT_TRUE(engine.update(batch(engine, 1), update).stop);
  });
}

TEST_F(EngineTest, counts_the_targets_of_the_global_batch) {
  const int64_t expected = global_batch(case_, 0).learn.sum().item<int64_t>();
  run({2, 2}, [&](Engine& engine) { EXPECT_EQ(engine.update(batch(engine), options()).targets, expected); });
}

TEST_F(EngineTest, repeats_a_run_of_the_same_layout_bit_for_bit) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    case_.dtype = dtype;
    std::vector<std::vector<Outcome>> runs(2, std::vector<Outcome>(4));
    for (auto& outcomes : runs)
      run_ranks(4, [&](Communicator& world) {
        outcomes[world.rank()] = train(case_, world, Grid{2, 2}, case_.micro_batch);
      });
    for (int rank = 0; rank < 4; ++rank) {
      EXPECT_EQ(runs[0][rank].losses, runs[1][rank].losses);
      EXPECT_EQ(runs[0][rank].norms, runs[1][rank].norms);
      expect_same_bits(runs[0][rank].gradients, runs[1][rank].gradients);
      expect_same_bits(runs[0][rank].values, runs[1][rank].values);
    }
  }
}

TEST_F(EngineTest, holds_the_same_parameters_with_the_same_first_values_in_every_layout) {
  for (Sharing sharing : {Sharing::all, Sharing::none}) {
    case_.options.sharing = sharing;
    std::map<std::string, at::Tensor> alone;
    run({1, 1}, [&](Engine& engine) { alone = values(engine); });
    for (Grid grid : {Grid{2, 2}, Grid{1, 3}, Grid{1, 8}}) {
      SCOPED_TRACE(grid.name());
      std::mutex mutex;
      std::set<std::string> names;
      run(grid, [&](Engine& engine) {
        const std::lock_guard lock(mutex);
        for (const auto& [name, value] : values(engine)) {
          names.insert(name);
          ASSERT_TRUE(alone.contains(name)) << name;
          EXPECT_TRUE(same_bits(value, alone[name])) << name;
        }
      });
      EXPECT_EQ(names.size(), alone.size());
    }
  }
}

TEST_F(EngineTest, goes_on_under_another_layout_with_what_all_ranks_kept) {
  constexpr std::array kKinds = {Optimizer::Kind::value, Optimizer::Kind::exp_avg, Optimizer::Kind::exp_avg_sq};
  for (at::ScalarType dtype : {at::kDouble, at::kBFloat16}) {
    case_.dtype = dtype;
    std::vector<double> losses;
    run({1, 1}, [&](Engine& engine) {
      for (int update = 0; update < 5; ++update) losses.push_back(engine.update(batch(engine, update), options()).loss);
    });
    std::mutex mutex;
    std::map<Optimizer::Kind, std::map<std::string, at::Tensor>> kept;
    std::map<Parameter::Part, int64_t> steps;
    run({2, 2}, [&](Engine& engine) {
      for (int update = 0; update < 3; ++update) engine.update(batch(engine, update), options());
      for (const Optimizer::Kind kind : kKinds)
        engine.optimizer().visit(kind, [&](const std::string& name, const at::Tensor& whole) {
          const std::lock_guard lock(mutex);
          kept[kind][name] = whole.clone();
        });
      const std::lock_guard lock(mutex);
      steps = engine.optimizer().steps();
    });
    for (const Grid& grid : {Grid{1, 1}, Grid{1, 3}, Grid{4, 1}, Grid{2, 2, {.sharded = false}}}) {
      SCOPED_TRACE(grid.name());
      run(grid, [&](Engine& engine) {
        Optimizer& optimizer = engine.optimizer();
        for (const Optimizer::Kind kind : kKinds)
          for (const std::string& name : optimizer.names()) optimizer.assign(name, kept.at(kind).at(name), kind);
        optimizer.set_steps(steps);
        for (const Optimizer::Kind kind : kKinds)
          optimizer.visit(kind, [&](const std::string& name, const at::Tensor& whole) {
            EXPECT_TRUE(same_bits(whole, kept.at(kind).at(name))) << name;
          });
        const double tolerance = dtype == at::kDouble ? 1e-10 : 2e-2;
        for (int update = 3; update < 5; ++update)
          EXPECT_NEAR(engine.update(batch(engine, update), options()).loss, losses[update], tolerance * losses[update]);
      });
    }
  }
}

TEST_F(EngineTest, draws_the_same_weights_from_a_seed_and_others_from_another) {
  run({1, 1}, [&](Engine& engine) {
    engine.initialize(1);
    auto first = values(engine);
    engine.initialize(2);
    EXPECT_FALSE(at::equal(first["edges.0.0-0.fc.weight"], values(engine)["edges.0.0-0.fc.weight"]));
    engine.initialize(1);
    expect_same_bits(values(engine), first);
  });
}

TEST_F(EngineTest, gives_the_same_loss_in_every_layout_also_without_rows_of_a_replica) {
  LossSum alone;
  run({1, 1}, [&](Engine& engine) { alone = engine.loss(global_batch(case_, 0)); });
  EXPECT_GT(alone.loss, 0);
  for (Grid grid : {Grid{2, 2}, Grid{1, 4}})
    run(grid, [&](Engine& engine) {
      Sequence rows = global_batch(case_, 0);
      if (grid.data == 2) rows = rows.narrow(engine.mesh().dp_rank == 0 ? RowRange{0, 8} : RowRange{8, 8});
      LossSum loss = engine.loss(rows);
      EXPECT_NEAR(loss.loss, alone.loss, 1e-10 * alone.loss);
      EXPECT_EQ(loss.targets, alone.targets);
    });
}

TEST_F(EngineTest, gives_the_loss_of_an_update_before_it) {
  run({1, 2}, [&](Engine& engine) {
    LossSum before = engine.loss(batch(engine));
    UpdateResult update = engine.update(batch(engine), options());
    EXPECT_NEAR(before.loss / static_cast<double>(before.targets), update.loss, 1e-12);
    EXPECT_LT(engine.loss(batch(engine)).loss, before.loss);
  });
}

TEST_F(EngineTest, takes_the_whole_batch_at_once_when_no_micro_batch_is_given) {
  run({1, 2}, [&](Engine& engine) {
    UpdateResult whole = engine.gradients(batch(engine), 0);
    UpdateResult one_by_one = engine.gradients(batch(engine), 1);
    EXPECT_NEAR(whole.loss, one_by_one.loss, 1e-12);
    EXPECT_NEAR(whole.grad_norm, one_by_one.grad_norm, 1e-10);
  });
}

TEST_F(EngineTest, gives_logits_whose_cross_entropy_is_the_loss) {
  run({1, 1}, [&](Engine& engine) {
    Sequence rows = batch(engine);
    at::Tensor hidden = engine.hidden(rows);
    EXPECT_EQ(hidden.sizes(), (at::IntArrayRef{8, 5, 8}));
    at::Tensor logits = engine.logits(hidden.flatten(0, 1));
    at::Tensor losses = at::nll_loss(at::log_softmax(logits, 1), rows.targets.flatten(), {}, at::Reduction::None);
    double sum = losses.masked_select(rows.learn.flatten()).sum().item<double>();
    EXPECT_NEAR(sum, engine.loss(rows).loss, 1e-10 * sum);
  });
}

TEST_F(EngineTest, refuses_to_train_a_tied_head_by_its_own_name) {
  case_.tied = true;
  case_.stages = {{Trains{.edges = true}}};
  run({1, 1}, [](Engine& engine) { EXPECT_THROW(engine.begin_stage(kEverything), ConfigError); });
}

TEST_F(EngineTest, refuses_a_stage_in_which_nothing_can_train) {
  case_.topology = "1";
  run({1, 1}, [](Engine& engine) { EXPECT_THROW(engine.begin_stage({.edges = true}), ConfigError); });
}

}  // namespace
}  // namespace lmnet::testing
