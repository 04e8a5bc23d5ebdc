#include "trainer/signals.h"

#include <gmock/gmock.h>

#include <csignal>

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
  std::raise(SIGUSR2);
  EXPECT_EQ(signals.received(), SIGUSR2);
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
