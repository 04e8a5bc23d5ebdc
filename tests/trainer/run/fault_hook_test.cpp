#include "trainer/run/fault_hook.h"

#include <gmock/gmock.h>

#include "model/graph/errors.h"

namespace lmnet {
namespace {

TEST(FaultHook, does_nothing_without_the_variable_and_on_other_ranks) {
  FaultHook none(nullptr, 0), other("rank=1 phase=step action=throw", 0);
  EXPECT_NO_THROW(none.enter("step", 1));
  EXPECT_NO_THROW(other.enter("step", 1));
}

TEST(FaultHook, throws_once_in_its_phase_from_its_update_on) {
  FaultHook hook("rank=1 phase=step update=3 action=throw", 1);
  EXPECT_NO_THROW(hook.enter("checkpoint", 3));
  EXPECT_NO_THROW(hook.enter("step", 2));
  EXPECT_THROW(hook.enter("step", 4), std::runtime_error);
  EXPECT_NO_THROW(hook.enter("step", 5));
}

TEST(FaultHook, knows_several_faults_parted_by_semicolons) {
  FaultHook hook(
      "rank=1 phase=step update=3 action=throw; rank=0 phase=start action=throw;rank=1 phase=step action=throw", 1);
  EXPECT_NO_THROW(hook.enter("start", 0));
  EXPECT_THROW(hook.enter("step", 1), std::runtime_error);
  EXPECT_NO_THROW(hook.enter("step", 2));
  EXPECT_THROW(hook.enter("step", 3), std::runtime_error);
}

TEST(FaultHook, refuses_words_that_it_does_not_know) {
  EXPECT_THROW(FaultHook("rank=1 action=burn", 1), ConfigError);
  EXPECT_THROW(FaultHook("rank", 0), ConfigError);
}

}  // namespace
}  // namespace lmnet
