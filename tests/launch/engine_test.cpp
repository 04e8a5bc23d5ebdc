#include "launch/sweep/engine.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <set>

#include "trainer/checkpoint/file_io.h"
#include "trainer/run/folder.h"

namespace lmnet::sweep {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using State = Record::State;

const std::string kConfig = R"(model:
  backbone: {model_type: qwen2, hidden_size: 8}
data: {sequence_length: 16, train: [{path: a.jsonl, format: c4}]}
train: {global_batch: 8, micro_batch: 4, stages: [{trains: [vertices], until: 10u, lr: 1e-3}]}
)";

/// Runs that end when the test says so.
class FakeLauncher : public Launcher {
 public:
  explicit FakeLauncher(size_t jobs) : jobs_(jobs) {}
  size_t room() const override { return jobs_ - running.size(); }
  void start(const std::vector<const PlannedRun*>& runs, Records&) override {
    for (const PlannedRun* run : runs) {
      running.insert(run->name);
      started.push_back(run->name);
    }
  }
  bool find_again(const std::string& name, const Record&) override {
    return found.contains(name) && running.insert(name).second;
  }
  std::vector<Ended> poll() override { return std::exchange(ended_, {}); }
  bool stop() override { return true; }

  void end(const std::string& name, int code) {
    running.erase(name);
    ended_.push_back({name, code, "", false});
  }

  std::set<std::string> running, found;
  std::vector<std::string> started;

 private:
  size_t jobs_;
  std::vector<Ended> ended_;
};

class EngineTest : public ::testing::Test {
 protected:
  EngineTest() : folder(std::filesystem::temp_directory_path() / fmt::format("engine_test-{}", getpid())) {
    folder.make();
    for (const char* name : {"a", "b", "c"}) {
      PlannedRun run;
      run.name = name;
      runs.push_back(run);
      write_text(folder.config(name), kConfig);
    }
  }
  ~EngineTest() override { std::filesystem::remove_all(folder.path()); }

  /// As the run itself would leave it.
  void leave(const std::string& name, const std::string& state, const std::string& reason = "") {
    std::filesystem::create_directories(folder.run(name));
    write_text(folder.run(name) / "config.yaml", kConfig);
    RunFolder(folder.run(name)).set_status({state, reason, 0, 10});
  }

  State state(const Engine& engine, const std::string& name) { return engine.records().at(name).state; }

  SweepFolder folder;
  std::vector<PlannedRun> runs;
};

TEST_F(EngineTest, starts_as_many_as_there_is_room_for_in_their_order) {
  FakeLauncher launcher(2);
  Engine engine(folder, runs, launcher, false);
  EXPECT_THAT(engine.step(), ElementsAre("a", "b"));
  EXPECT_THAT(engine.step(), IsEmpty());
  leave("a", "done");
  launcher.end("a", 0);
  EXPECT_THAT(engine.step(), ElementsAre("a", "c"));
  EXPECT_EQ(state(engine, "a"), State::done);
  EXPECT_FALSE(engine.over());
}

TEST_F(EngineTest, starts_what_others_need_first_and_nothing_after_it_fails) {
  runs[1].needs = {{"a", "model.backbone"}};
  FakeLauncher launcher(3);
  Engine engine(folder, runs, launcher, false);
  EXPECT_THAT(engine.step(), ElementsAre("a", "c"));
  launcher.end("a", 3);
  launcher.end("c", 3);
  engine.step();
  EXPECT_TRUE(engine.over());
  EXPECT_EQ(engine.blocked_by(engine.runs()[1]), "a");
  EXPECT_THAT(launcher.started, ElementsAre("a", "c"));
}

TEST_F(EngineTest, starts_no_run_again_that_is_done) {
  leave("a", "done");
  FakeLauncher launcher(3);
  Engine engine(folder, runs, launcher, true);
  EXPECT_THAT(engine.step(), ElementsAre("b", "c"));
}

TEST_F(EngineTest, goes_on_with_a_run_that_is_done_but_was_given_more_to_train) {
  leave("a", "done");
  std::string longer = kConfig;
  longer.replace(longer.find("10u"), 3, "20u");
  write_text(folder.config("a"), longer);
  FakeLauncher launcher(1);
  Engine engine(folder, runs, launcher, false);
  EXPECT_THAT(engine.step(), ElementsAre("a"));
}

TEST_F(EngineTest, keeps_a_failed_run_with_its_reason_until_it_is_asked_to_retry) {
  {
    FakeLauncher launcher(3);
    Engine engine(folder, runs, launcher, false);
    engine.step();
    leave("a", "failed", "data/x.jsonl: no such file");
    launcher.end("a", 3);
    engine.step();
  }
  FakeLauncher later(3);
  Engine engine(folder, runs, later, false);
  EXPECT_THAT(engine.step(), ElementsAre("b", "c"));  // these were interrupted
  EXPECT_EQ(engine.records().at("a").reason, "data/x.jsonl: no such file");
  EXPECT_EQ(engine.records().at("a").code, 3);
  FakeLauncher asked(3);
  Engine again(folder, runs, asked, true);
  EXPECT_THAT(again.step(), ElementsAre("a", "b", "c"));
  EXPECT_EQ(again.records().at("a").attempts, 2);
}

TEST_F(EngineTest, calls_a_run_that_saved_and_stopped_no_failure) {
  FakeLauncher launcher(1);
  Engine engine(folder, runs, launcher, false);
  engine.step();
  leave("a", "stopped", "signal USR1, saved");
  launcher.end("a", 138);
  engine.step();
  EXPECT_EQ(state(engine, "a"), State::stopped);
}

TEST_F(EngineTest, names_the_end_of_a_run_that_left_no_folder) {
  FakeLauncher launcher(1);
  Engine engine(folder, runs, launcher, false);
  engine.step();
  write_text(folder.log("a"), "some line\nlmnet: configs/a.yaml: no such file\nanother\n");
  launcher.end("a", 2);
  engine.step();
  EXPECT_EQ(engine.records().at("a").reason, "configs/a.yaml: no such file");
  launcher.end("b", 137);
  engine.step();
  EXPECT_EQ(engine.records().at("b").reason, "ended by signal 9");
}

TEST_F(EngineTest, takes_over_what_a_queue_still_runs) {
  {
    FakeLauncher launcher(3);
    Engine engine(folder, runs, launcher, false);
    engine.step();
  }
  FakeLauncher later(3);
  later.found = {"b"};
  Engine engine(folder, runs, later, false);
  EXPECT_THAT(engine.step(), ElementsAre("a", "c"));
  EXPECT_EQ(state(engine, "b"), State::running);
}

TEST_F(EngineTest, starts_nothing_more_when_it_is_stopped) {
  FakeLauncher launcher(1);
  Engine engine(folder, runs, launcher, false);
  engine.step();
  engine.stop();
  leave("a", "stopped");
  launcher.end("a", 143);
  EXPECT_THAT(engine.step(), ElementsAre("a"));
  EXPECT_TRUE(engine.over());
}

TEST(LocalLauncher, shares_processors_and_devices_between_runs) {
  EXPECT_EQ(threads_of_rank(16, 2, 4), 2);
  EXPECT_EQ(threads_of_rank(2, 2, 2), 1);
  EXPECT_EQ(devices_of_slot({"0", "1", "2", "3"}, 2, 2, 1), "2,3");
  EXPECT_EQ(devices_of_slot({"GPU-a", "GPU-b"}, 2, 1, 0), "GPU-a");
  EXPECT_EQ(devices_of_slot({"0"}, 2, 1, 1), "");
}

}  // namespace
}  // namespace lmnet::sweep
