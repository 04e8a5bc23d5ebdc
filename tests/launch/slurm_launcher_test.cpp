#include "launch/sweep/slurm_launcher.h"

#include <gmock/gmock.h>

namespace lmnet::sweep {
namespace {

const std::string kShown = R"(JobId=7 ArrayJobId=5 ArrayTaskId=2 JobName=s
   UserId=root(0) GroupId=root(0) MCS_label=N/A
   JobState=%s Reason=None Dependency=(null)
   Requeue=1 Restarts=0 BatchFlag=1 Reboot=0 ExitCode=%c
)";

JobEnd end(const std::string& state, const std::string& code) {
  std::string shown = kShown;
  shown.replace(shown.find("%s"), 2, state);
  shown.replace(shown.find("%c"), 2, code);
  return job_end(shown);
}

TEST(SlurmLauncher, tells_a_job_that_failed_from_one_that_was_taken_away) {
  EXPECT_FALSE(end("COMPLETED", "0:0").taken_away);
  EXPECT_EQ(end("COMPLETED", "0:0").code, 0);
  EXPECT_FALSE(end("FAILED", "3:0").taken_away);
  EXPECT_EQ(end("FAILED", "3:0").code, 3);
  EXPECT_EQ(end("FAILED", "0:9").code, 137);
  for (const char* state : {"CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "DEADLINE"})
    EXPECT_TRUE(end(state, "0:15").taken_away) << state;
  EXPECT_FALSE(end("OUT_OF_MEMORY", "0:125").taken_away);
  EXPECT_FALSE(job_end("slurm_load_jobs error: Invalid job id specified\n").taken_away);
}

}  // namespace
}  // namespace lmnet::sweep
