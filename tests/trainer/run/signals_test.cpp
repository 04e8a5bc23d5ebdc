#include "trainer/run/signals.h"

#include <gmock/gmock.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "model/graph/errors.h"

namespace lmnet {
namespace {

TEST(StopSignals, remember_what_came_before_the_names_were_known) {
  StopSignals signals({"TERM", "USR1"});
  EXPECT_EQ(signals.received(), 0);
  std::raise(SIGUSR1);
  signals.take({"USR1", "USR2"});
  EXPECT_EQ(signals.received(), SIGUSR1);
  EXPECT_STREQ(StopSignals::name(signals.received()), "USR1");
}

TEST(StopSignals, passed_on_twice_are_one_wish) {
  StopSignals signals({"USR1", "TERM"});
  std::raise(SIGUSR1);
  std::raise(SIGUSR1);
  std::raise(SIGTERM);
  EXPECT_EQ(signals.received(), SIGUSR1);
}

TEST(StopSignalsDeathTest, that_come_again_later_end_the_process_at_once) {
  const auto insist = [](int signal) {
    StopSignals signals({"TERM", "USR1"});
    std::raise(SIGUSR1);
    std::this_thread::sleep_for(std::chrono::milliseconds(1200));
    std::raise(signal);
  };
  EXPECT_EXIT(insist(SIGUSR1), ::testing::KilledBySignal(SIGUSR1), "");
  EXPECT_EXIT(insist(SIGTERM), ::testing::KilledBySignal(SIGTERM), "");
}

TEST(StopSignalsDeathTest, give_back_what_nobody_named) {
  const auto forgo = [] {
    StopSignals signals({"TERM"});
    std::raise(SIGTERM);
    signals.take({"USR1"});
  };
  EXPECT_EXIT(forgo(), ::testing::KilledBySignal(SIGTERM), "");
}

TEST(StopSignals, refuse_other_names) {
  EXPECT_THROW(StopSignals({"KILL"}), ConfigError);
}

}  // namespace
}  // namespace lmnet
