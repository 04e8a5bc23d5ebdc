#include "launch/run_status.h"

#include <gmock/gmock.h>

#include <fstream>

#include "launch/slurm/submit.h"
#include "model/graph/errors.h"
#include "tests/trainer/checkpoint/helpers.h"
#include "tests/trainer/config/helpers.h"
#include "trainer/checkpoint/file_io.h"
#include "trainer/run/folder.h"
#include "trainer/run/lease.h"
#include "trainer/run/stop_wish.h"

namespace lmnet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

/// A run of 10 updates that has made 4.
RunFolder make_run(const fs::path& path, const RunFolder::Status& status) {
  RunFolder folder(path);
  folder.open(testing::small(), "plan");
  folder.set_status(status);
  folder.add_metrics("{\"update\":3,\"loss\":2.5,\"seconds\":2,\"tokens_per_s\":64}\n");
  folder.add_metrics(
      "{\"update\":4,\"loss\":2.25,\"seconds\":2,\"tokens_per_s\":128}\n{\"update\":4,\"validation_loss\":2.4}\n");
  return folder;
}

TEST(StatusOfRun, tells_how_far_one_is_that_goes_on) {
  const TemporaryFolder place;
  make_run(place / "run", {"running", "", 0, 3, 1, "update 2: rank 1 fell"});
  const RunLease lease(place / "run");
  const RunStatus status = status_of_run(place / "run");
  EXPECT_EQ(status.state, "running");
  EXPECT_EQ(status.update, 4);
  EXPECT_EQ(status.updates, 10);
  EXPECT_EQ(status.loss, 2.25);
  EXPECT_EQ(status.validation_loss, 2.4);
  EXPECT_EQ(status.seconds_left, 12);
  EXPECT_EQ(status.restart, 1);
  EXPECT_THAT(status.holder, HasSubstr("process " + std::to_string(getpid())));
  const std::string text = to_text(status);
  for (const char* part : {"running · update 4/10 · loss 2.2500", "128 tok/s", "12 s left", "restart 1",
                           "last error: update 2: rank 1 fell"})
    EXPECT_THAT(text, HasSubstr(part));
  EXPECT_EQ(to_json(status)["checkpoint"], nullptr);
  EXPECT_EQ(to_json(status)["loss"], 2.25);
}

TEST(StatusOfRun, calls_one_dead_whose_process_is_gone) {
  const TemporaryFolder place;
  make_run(place / "run", {"running", "", 0, 3});
  const RunStatus status = status_of_run(place / "run");
  EXPECT_EQ(status.state, "dead");
  EXPECT_EQ(status.seconds_left, std::nullopt);
  EXPECT_THAT(to_text(status), HasSubstr("start it again"));
}

TEST(StatusOfRun, tells_why_one_has_stopped_or_failed) {
  const TemporaryFolder place;
  make_run(place / "run", {"failed", "update 5: loss nan", 1, 4});
  EXPECT_THAT(to_text(status_of_run(place / "run")), HasSubstr("update 5: loss nan (code 1)"));
}

TEST(StatusOfRun, knows_one_that_was_only_submitted) {
  const TemporaryFolder place;
  fs::create_directories(slurm::SubmittedRun(place / "run").folder);
  EXPECT_THROW(status_of_run(place / "run"), ConfigError);
  write_text(slurm::SubmittedRun(place / "run").job_file(), "17\n");
  EXPECT_EQ(status_of_run(place / "run").job, "17");
  RunFolder(place / "run").set_status({"stopped", "lmnet stop, during start-up", 143, 0});
  EXPECT_EQ(status_of_run(place / "run").state, "stopped");
}

TEST(RunsOf, are_those_in_a_folder_and_in_its_sweeps) {
  const TemporaryFolder place;
  EXPECT_THAT(runs_of(place.path()), ElementsAre(place.path()));
  for (const char* name : {"b", "a", "sweep/cell=2", "sweep/cell=1", "a/copy", "deep/er/run"})
    make_run(place / name, {"done", "", 0, 10});
  fs::create_directories(place / "notes");
  EXPECT_THAT(runs_of(place.path()),
              ElementsAre(place / "a", place / "b", place / "sweep/cell=1", place / "sweep/cell=2"));
  EXPECT_THAT(runs_of(place / "a"), ElementsAre(place / "a"));
  EXPECT_THAT(runs_of(place / "none"), ElementsAre(place / "none"));
}

TEST(StatusOfRun, refuses_what_is_no_run) {
  const TemporaryFolder place;
  EXPECT_THROW(status_of_run(place.path()), ConfigError);
}

TEST(StopRun, asks_by_a_file_and_waits_for_the_lease) {
  const TemporaryFolder place;
  make_run(place / "run", {"running", "", 0, 4});
  auto lease = std::make_unique<RunLease>(place / "run");
  EXPECT_EQ(stop_run(place / "run", /*wait=*/false), 0);
  EXPECT_TRUE(fs::exists(StopWish::request_in(place / "run")));
  std::jthread run([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    RunFolder(place / "run").set_status({"stopped", "lmnet stop, saved", 143, 5});
    lease.reset();
  });
  ::testing::internal::CaptureStdout();
  EXPECT_EQ(stop_run(place / "run", /*wait=*/true), 0);
  EXPECT_THAT(::testing::internal::GetCapturedStdout(), HasSubstr("run: stopped at update 5"));
}

TEST(StopRun, of_one_that_does_not_run_says_so) {
  const TemporaryFolder place;
  make_run(place / "run", {"done", "", 0, 10});
  ::testing::internal::CaptureStdout();
  EXPECT_EQ(stop_run(place / "run", /*wait=*/true), 0);
  EXPECT_THAT(::testing::internal::GetCapturedStdout(), HasSubstr("does not run: done at update 10"));
  EXPECT_FALSE(fs::exists(StopWish::request_in(place / "run")));
}

}  // namespace
}  // namespace lmnet
