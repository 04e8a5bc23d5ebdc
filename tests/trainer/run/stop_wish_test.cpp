#include "trainer/run/stop_wish.h"

#include <gmock/gmock.h>

#include <csignal>
#include <ctime>
#include <fstream>
#include <thread>

#include "parallel/thread_communicator.h"
#include "tests/trainer/checkpoint/helpers.h"

namespace lmnet {
namespace {

const Variables kNoJob = [](const char*) -> const char* { return nullptr; };

RunConfig run_in(const TemporaryFolder& place) {
  RunConfig run;
  run.dir = place.path();
  run.name = "run";
  std::filesystem::create_directories(run.folder());
  return run;
}

Variables job_that_ends_in(std::string& text, int seconds) {
  text = std::to_string(std::time(nullptr) + seconds);
  return [&text](const char* name) -> const char* {
    if (name == std::string("SLURM_JOB_ID")) return "17";
    return name == std::string("SLURM_JOB_END_TIME") ? text.c_str() : nullptr;
  };
}

TEST(StopWish, comes_by_a_signal_to_any_rank) {
  const TemporaryFolder place;
  const RunConfig run = run_in(place);
  const StopSignals signals({"USR1"});
  StopWish other(signals, run, /*first_rank=*/false, kNoJob);
  EXPECT_FALSE(other.here());
  std::raise(SIGUSR1);
  EXPECT_TRUE(other.here());
}

TEST(StopWish, comes_by_a_file_that_is_forgotten_at_the_next_start) {
  const TemporaryFolder place;
  const RunConfig run = run_in(place);
  const StopSignals signals({});
  std::ofstream(StopWish::request_in(run.folder())) << "";
  StopWish other(signals, run, /*first_rank=*/false, kNoJob);
  EXPECT_FALSE(other.here());
  StopWish first(signals, run, /*first_rank=*/true, kNoJob);
  EXPECT_FALSE(first.here());  // it was asked of the run that has the folder
  first.heed_requests();
  EXPECT_FALSE(first.here());
  std::ofstream(StopWish::request_in(run.folder())) << "";
  std::this_thread::sleep_for(std::chrono::milliseconds(300));  // it looks now and then
  EXPECT_TRUE(first.here());
  StopWish next(signals, run, /*first_rank=*/true, kNoJob);
  next.heed_requests();
  EXPECT_FALSE(next.here());
  EXPECT_TRUE(first.here());
}

TEST(StopWish, comes_when_the_time_is_over) {
  const TemporaryFolder place;
  RunConfig run = run_in(place);
  run.time_limit = Span{0.3, Span::Unit::seconds};
  const StopSignals signals({});
  StopWish wish(signals, run, /*first_rank=*/true, kNoJob);
  EXPECT_FALSE(wish.here());
  std::this_thread::sleep_for(std::chrono::milliseconds(400));
  EXPECT_TRUE(wish.here());
}

TEST(StopWish, comes_before_the_end_of_a_job_so_that_there_is_time_to_save) {
  const TemporaryFolder place;
  const RunConfig run = run_in(place);
  const StopSignals signals({});
  std::string end;
  StopWish early(signals, run, /*first_rank=*/true, job_that_ends_in(end, 1000));
  EXPECT_FALSE(early.here());
  StopWish slow_to_save(signals, run, /*first_rank=*/true, job_that_ends_in(end, 1000));
  slow_to_save.save_took(480);
  EXPECT_TRUE(slow_to_save.here());
  StopWish slow_to_update(signals, run, /*first_rank=*/true, job_that_ends_in(end, 1000));
  slow_to_update.update_took(480);
  EXPECT_TRUE(slow_to_update.here());
}

TEST(StopWish, has_one_reason_on_all_ranks_and_a_signal_comes_first) {
  const TemporaryFolder place;
  RunConfig run = run_in(place);
  run.time_limit = Span{0, Span::Unit::seconds};
  const StopSignals signals({"USR2"});
  const auto agreed = [&](bool signalled) {
    if (signalled) std::raise(SIGUSR2);
    std::vector<StopWish::Reason> reasons(2);
    run_ranks(2, [&](Communicator& world) {
      StopWish wish(signals, run, world.rank() == 0, kNoJob);
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      EXPECT_TRUE(wish.anywhere(world));
      reasons[world.rank()] = wish.agree(world);
    });
    EXPECT_EQ(reasons[0].text, reasons[1].text);
    EXPECT_EQ(reasons[0].code, reasons[1].code);
    return reasons[1];
  };
  EXPECT_EQ(agreed(false).text, "run.time_limit");
  EXPECT_EQ(agreed(true).text, "signal USR2");
  EXPECT_EQ(agreed(true).code, 128 + SIGUSR2);
}

}  // namespace
}  // namespace lmnet
