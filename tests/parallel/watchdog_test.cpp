#include "parallel/watchdog.h"

#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "parallel/errors.h"

namespace lmnet {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;

/// A collective that goes on when a test says so.
struct Scripted final : Watchdog::Watched {
  bool begun() override { return begun_; }
  bool done() override { return done_; }
  void release() override { released_ = true; }
  std::atomic<bool> begun_ = false, done_ = false, released_ = false;
};

/// Whether `condition` holds soon.
template <class Condition>
bool soon(Condition condition) {
  for (int i = 0; i < 5000 && !condition(); ++i) std::this_thread::sleep_for(1ms);
  return condition();
}

std::string cause_of(const Watchdog& watchdog) {
  try {
    watchdog.check();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

class WatchdogTest : public ::testing::Test {
 protected:
  std::shared_ptr<Scripted> run(int queue, const char* name, std::vector<int> peers = {0, 2}) {
    auto collective = std::make_shared<Scripted>();
    watchdog_.watch(queue, {name, std::move(peers)}, collective);
    return collective;
  }

  std::atomic<int> stopped_ = 0;
  std::atomic<bool> failed_elsewhere_ = false;
  Watchdog watchdog_{{"rank 0 on a", "rank 1 on b", "rank 2 on c"},
                     1,
                     {[this] {
                        if (failed_elsewhere_) throw RankFailed(2, 3, "rank 2 on c: the file is gone");
                      },
                      [this] { ++stopped_; }}};
};

TEST_F(WatchdogTest, lets_the_tensors_of_what_is_done_go_in_the_order_of_the_queue) {
  const auto first = run(0, "all_reduce"), second = run(0, "all_reduce"), other = run(1, "all_to_all");
  second->done_ = other->done_ = true;
  EXPECT_TRUE(soon([&] { return other->released_.load(); }));
  EXPECT_FALSE(second->released_);
  first->done_ = true;
  EXPECT_TRUE(soon([&] { return first->released_ && second->released_; }));
  EXPECT_EQ(stopped_, 0);
}

TEST_F(WatchdogTest, names_what_takes_too_long_and_stops_the_device_once) {
  watchdog_.enter("update 12", 30ms);
  const auto done = run(0, "broadcast");
  const auto stuck = run(0, "all_to_all");
  run(0, "all_reduce");
  done->done_ = stuck->begun_ = true;
  ASSERT_TRUE(soon([&] { return stopped_ == 1; }));
  EXPECT_THAT(cause_of(watchdog_),
              AllOf(HasSubstr("rank 1 on b: update 12: all_to_all: "), HasSubstr("rank 0 on a"),
                    HasSubstr("rank 2 on c"), HasSubstr("(since "), HasSubstr("parallel.timeout")));
  EXPECT_THROW(watchdog_.check(), CommunicationError);
}

TEST_F(WatchdogTest, does_not_count_the_time_of_what_comes_before) {
  watchdog_.enter("update 12", 1ms);
  const auto computing = run(0, "all_to_all");
  std::this_thread::sleep_for(50ms);
  EXPECT_FALSE(watchdog_.failed());
  computing->done_ = true;
  EXPECT_TRUE(soon([&] { return computing->released_.load(); }));
  EXPECT_FALSE(watchdog_.failed());
}

TEST_F(WatchdogTest, a_collective_has_the_time_and_the_name_of_the_phase_it_was_started_in) {
  watchdog_.enter("update 12", 1h);
  const auto patient = run(0, "all_to_all");
  watchdog_.enter("checkpoint of update 12", 1ms);
  const auto hasty = run(1, "all_gather");
  patient->begun_ = hasty->begun_ = true;
  ASSERT_TRUE(soon([&] { return watchdog_.failed(); }));
  EXPECT_THAT(cause_of(watchdog_), HasSubstr("checkpoint of update 12: all_gather"));
}

TEST_F(WatchdogTest, hears_of_a_failure_elsewhere_while_nobody_waits) {
  run(0, "all_to_all")->begun_ = true;
  failed_elsewhere_ = true;
  ASSERT_TRUE(soon([&] { return stopped_ == 1; }));
  EXPECT_THROW(watchdog_.check(), RankFailed);
  EXPECT_EQ(cause_of(watchdog_), "rank 2 on c: the file is gone");
}

TEST_F(WatchdogTest, keeps_the_first_cause) {
  watchdog_.fail(std::make_exception_ptr(CommunicationError("first")));
  watchdog_.fail(std::make_exception_ptr(CommunicationError("second")));
  EXPECT_EQ(cause_of(watchdog_), "first");
  EXPECT_EQ(stopped_, 1);
}

TEST(Watchdog, lets_everything_go_at_its_end) {
  const auto collective = std::make_shared<Scripted>();
  {
    Watchdog watchdog({"rank 0 on a"}, 0, {[] {}, [] {}});
    watchdog.watch(0, {"all_reduce", {}}, collective);
  }
  EXPECT_TRUE(collective->released_);
}

}  // namespace
}  // namespace lmnet
