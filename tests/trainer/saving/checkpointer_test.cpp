#include "trainer/saving/checkpointer.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <atomic>
#include <fstream>
#include <limits>
#include <mutex>

#include "parallel/thread_communicator.h"
#include "tests/trainer/agreement.h"
#include "tests/trainer/checkpoint/helpers.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/together.h"

namespace lmnet::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// A run on some ranks that saves under folder_.
class CheckpointerTest : public ::testing::Test {
 protected:
  /// One rank of it.
  struct Rank {
    Engine& engine;
    Checkpointer& checkpointer;
    const Case& run;
    RunState state = {};

    /// One update, as a run makes it.
    void update() {
      const auto& mesh = engine.mesh();
      UpdateOptions options{.lr = rates(run.stages.front().trains), .micro_batch = run.micro_batch};
      options.before_change = [this] { checkpointer.before_change(); };
      const int number = static_cast<int>(state.run.updates++);
      const UpdateResult result =
          engine.gradients(rows_of_replica(global_batch(run, number), mesh.dp_rank, mesh.dp_size), options.micro_batch,
                           /*stop=*/false, options.loss, checkpointer.vote());
      checkpointer.take(result.save);
      checkpointer.hold(state.run.updates);
      engine.apply(result, options);
    }
    void save() { checkpointer.save(state, {}, "edges"); }
    void save_last() { checkpointer.save_last(state, {}, "edges"); }
    /// Makes updates until it is known what came of the save; each takes a moment.
    void update_until_known() {
      const auto begin = std::chrono::steady_clock::now();
      for (size_t told = said.size(); said.size() == told; update())
        if (std::chrono::steady_clock::now() - begin > std::chrono::seconds(60)) FAIL() << "the save has no end";
    }
    std::vector<std::string> said = {};
  };

  void run(const Grid& grid, const std::function<void(Rank&)>& body) {
    run_ranks(grid.data * grid.vertex, [&](Communicator& world) {
      Mesh mesh(world, grid.vertex);
      Engine engine(shape_of(case_), graph_of(case_), case_.dtype, OptimizerConfig{}, mesh, grid.parallel);
      initialize(engine);
      engine.begin_stage(case_.stages.front().trains);
      Rank* told = nullptr;
      Checkpointer checkpointer(
          engine, config_, dir(), {"{}\n", {}}, [&](const std::string& text) { told->said.push_back(text); },
          [&] {
            if (lost_) throw CheckpointError("the folder is another run's");
          });
      Rank rank{engine, checkpointer, case_};
      told = &rank;
      body(rank);
      world.barrier();
    });
  }

  /// Between what all ranks have done so far and what they do next.
  void set_lost(Rank& rank, bool lost) {
    rank.engine.mesh().world->barrier();
    lost_ = lost;
    rank.engine.mesh().world->barrier();
  }

  fs::path dir() const { return folder_ / "checkpoints"; }
  std::vector<std::string> checkpoints() const {
    std::vector<std::string> names;
    for (const fs::path& path : list_checkpoints(dir())) names.push_back(path.filename().string());
    return names;
  }
  /// The values of a parameter that every rank holds.
  static at::Tensor shared(Engine& engine) {
    at::Tensor found;
    engine.optimizer().visit(Optimizer::Kind::value, [&](const std::string& name, const at::Tensor& value) {
      if (name == "embeddings.tokens.weight") found = value.clone();
    });
    return found;
  }

  TemporaryFolder folder_;
  CheckpointConfig config_;
  std::atomic<bool> lost_ = false;
  Case case_{.name = "", .topology = "1-2-1"};
};

TEST_F(CheckpointerTest, an_update_waits_for_the_checkpoint_before_it) {
  run({2, 2}, [&](Rank& rank) {
    for (const std::string name : {"step-000000001", "step-000000002"}) {
      rank.update();
      rank.save();
      EXPECT_TRUE(rank.checkpointer.holds(rank.state.run.updates + 1));
      rank.checkpointer.hold(rank.state.run.updates + 1);
      EXPECT_FALSE(rank.checkpointer.holds(rank.state.run.updates + 1));
      EXPECT_THAT(checkpoints(), Contains(name));  // before the weights change
    }
  });
}

TEST_F(CheckpointerTest, or_is_as_far_ahead_of_it_as_configured) {
  config_.ahead = 2;
  run({2, 1}, [&](Rank& rank) {
    rank.update();
    rank.save();
    EXPECT_FALSE(rank.checkpointer.holds(3));
    EXPECT_TRUE(rank.checkpointer.holds(4));
    rank.update();
    rank.update();
    rank.update();
    EXPECT_THAT(checkpoints(), ElementsAre("step-000000001"));
  });
}

TEST_F(CheckpointerTest, an_update_waits_until_it_is_known_that_a_save_failed_and_the_next_save_cleans_up) {
  run({2, 1}, [&](Rank& rank) {
    rank.update();
    rank.save();
    set_lost(rank, true);
    rank.update();
    EXPECT_EQ(rank.state.run.updates, 2);
    EXPECT_FALSE(rank.checkpointer.holds(3));
    EXPECT_TRUE(fs::exists(dir() / ".step-000000001.tmp"));  // it could not be removed
    set_lost(rank, false);
    rank.save_last();
    EXPECT_FALSE(fs::exists(dir() / ".step-000000001.tmp"));
  });
}

TEST_F(CheckpointerTest, saves_the_moment_at_which_it_was_called_while_updates_go_on) {
  config_.ahead = std::numeric_limits<int32_t>::max();
  run({2, 2}, [&](Rank& rank) {
    rank.update();
    const at::Tensor then = shared(rank.engine);
    rank.save();
    rank.update_until_known();
    EXPECT_THAT(rank.said, ElementsAre(HasSubstr("saved " + (dir() / "step-000000001").string())));
    EXPECT_EQ(rank.checkpointer.saved(), 1);
    EXPECT_FALSE(at::equal(then, shared(rank.engine)));
    const CheckpointReader checkpoint(dir() / "step-000000001");
    EXPECT_TRUE(at::equal(checkpoint.read("embeddings.tokens.weight"), then));
  });
  EXPECT_NO_THROW(open_checkpoint(dir() / "step-000000001", /*verify=*/true));
}

TEST_F(CheckpointerTest, its_bar_goes_when_the_files_are_written) {
  run({2, 1}, [&](Rank& rank) {
    int64_t shown = -1, of = 0;
    rank.checkpointer.show_with([&](const std::string&) -> Advance {
      return [&](int64_t done, int64_t all) {
        EXPECT_GE(done, shown);
        shown = done;
        of = all;
      };
    });
    rank.update();
    rank.save();
    rank.update_until_known();
    EXPECT_GT(of, 0);
    EXPECT_EQ(shown, of);
  });
}

TEST_F(CheckpointerTest, a_save_that_is_due_meanwhile_waits_for_the_one_before) {
  run({2, 1}, [&](Rank& rank) {
    for (int i = 0; i < 3; ++i) {
      rank.update();
      rank.save();
    }
    rank.save_last();
    EXPECT_EQ(rank.checkpointer.saved(), 3);
  });
  EXPECT_THAT(checkpoints(), ElementsAre("step-000000003", "step-000000002", "step-000000001"));
}

TEST_F(CheckpointerTest, or_is_left_out_as_configured_but_never_the_last_one) {
  config_.busy = "skip";
  run({2, 1}, [&](Rank& rank) {
    rank.update();
    rank.save();
    rank.save();  // nobody can know yet that the first one is complete
    EXPECT_THAT(rank.said, ElementsAre(HasSubstr("no checkpoint of update 1")));
    rank.update();
    rank.save_last();
  });
  EXPECT_THAT(checkpoints(), ElementsAre("step-000000002", "step-000000001"));
}

TEST_F(CheckpointerTest, waits_at_once_when_it_is_not_to_write_beside_the_training) {
  config_.async = false;
  run({2, 1}, [&](Rank& rank) {
    rank.update();
    rank.save();
    EXPECT_THAT(checkpoints(), ElementsAre("step-000000001"));
  });
}

TEST_F(CheckpointerTest, tells_all_ranks_of_a_save_that_failed_and_goes_on) {
  std::ofstream(dir()) << "in the way";
  run({2, 2}, [&](Rank& rank) {
    rank.update();
    rank.save();
    EXPECT_THAT(rank.said, ElementsAre(AllOf(HasSubstr("the checkpoint of update 1 was not saved"),
                                             HasSubstr("Not a directory"), HasSubstr("the run goes on"))));
    EXPECT_EQ(rank.checkpointer.saved(), std::nullopt);
    rank.update();
    rank.engine.mesh().world->barrier();
    if (rank.engine.mesh().world->rank() == 0) fs::remove(dir());
    rank.engine.mesh().world->barrier();
    rank.save();
    rank.update_until_known();
    EXPECT_EQ(rank.checkpointer.saved(), 2);
  });
  EXPECT_THAT(checkpoints(), ElementsAre("step-000000002"));
}

TEST_F(CheckpointerTest, stops_all_ranks_when_a_save_has_failed_as_configured) {
  config_.on_failure = "stop";
  std::ofstream(dir()) << "in the way";
  EXPECT_THROW(run({2, 1}, [&](Rank& rank) { rank.save(); }), AgreedError);
}

TEST_F(CheckpointerTest, a_last_save_that_fails_is_an_error) {
  std::ofstream(dir()) << "in the way";
  EXPECT_THROW(run({2, 1}, [&](Rank& rank) { rank.save_last(); }), AgreedError);
}

TEST_F(CheckpointerTest, what_is_on_its_way_is_completed_where_the_run_ends_for_another_reason) {
  run({2, 1}, [&](Rank& rank) {
    rank.update();
    rank.save();
    rank.checkpointer.settle();
  });
  EXPECT_THAT(checkpoints(), ElementsAre("step-000000001"));
}

TEST_F(CheckpointerTest, makes_and_removes_nothing_in_a_folder_that_is_no_longer_the_runs) {
  config_.keep = 1;
  run({2, 1}, [&](Rank& rank) {
    rank.update();
    rank.save_last();
    set_lost(rank, true);
    rank.update();
    EXPECT_THROW(rank.save_last(), AgreedError);
  });
  EXPECT_THAT(checkpoints(), ElementsAre("step-000000001"));
}

TEST_F(CheckpointerTest, what_is_given_up_is_no_checkpoint) {
  run({2, 1}, [&](Rank& rank) {
    rank.update();
    rank.save();
  });
  EXPECT_THAT(checkpoints(), ElementsAre());
  clean_partial(dir());
  EXPECT_TRUE(fs::is_empty(dir()));
}

}  // namespace
}  // namespace lmnet::testing
