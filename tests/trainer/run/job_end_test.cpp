#include "trainer/run/job_end.h"

#include <gmock/gmock.h>

#include <ctime>
#include <map>

namespace lmnet {
namespace {

Variables of(const std::map<std::string, std::string>& values) {
  return [values](const char* name) {
    const auto found = values.find(name);
    return found == values.end() ? nullptr : found->second.c_str();
  };
}

AskCommand answers(std::optional<std::string> line, int* asked = nullptr) {
  return [=](const std::string& command) {
    EXPECT_THAT(command, ::testing::HasSubstr("squeue --noheader --jobs=17 "));
    if (asked != nullptr) ++*asked;
    return line;
  };
}

TEST(JobEnd, is_none_outside_a_job) {
  int asked = 0;
  JobEnd end(of({}), answers("2030-01-01T00:00:00", &asked));
  end.ask_again();
  EXPECT_EQ(end.time(), std::nullopt);
  EXPECT_EQ(asked, 0);
}

TEST(JobEnd, stands_in_the_environment) {
  int asked = 0;
  const JobEnd end(of({{"SLURM_JOB_ID", "17"}, {"SLURM_JOB_END_TIME", "1900000000"}}), answers(std::nullopt, &asked));
  EXPECT_EQ(end.time(), 1'900'000'000);
  EXPECT_EQ(asked, 0);
}

TEST(JobEnd, is_asked_for_where_the_environment_is_silent) {
  const JobEnd end(of({{"SLURM_JOB_ID", "17"}}), answers("2030-03-17T17:46:40"));
  std::tm local{};
  local.tm_year = 130, local.tm_mon = 2, local.tm_mday = 17, local.tm_hour = 17, local.tm_min = 46, local.tm_sec = 40;
  local.tm_isdst = -1;
  EXPECT_EQ(end.time(), std::mktime(&local));
}

TEST(JobEnd, is_none_for_a_job_without_one) {
  EXPECT_EQ(JobEnd(of({{"SLURM_JOB_ID", "17"}}), answers("NONE")).time(), std::nullopt);
  EXPECT_EQ(JobEnd(of({{"SLURM_JOB_ID", "17"}}), answers(std::nullopt)).time(), std::nullopt);
}

TEST(JobEnd, is_that_of_one_task_of_an_array) {
  const AskCommand ask = [](const std::string& command) -> std::optional<std::string> {
    EXPECT_THAT(command, ::testing::HasSubstr(" --jobs=15_2 "));
    return "NONE";
  };
  JobEnd(of({{"SLURM_JOB_ID", "17"}, {"SLURM_ARRAY_JOB_ID", "15"}, {"SLURM_ARRAY_TASK_ID", "2"}}), ask);
}

TEST(JobEnd, may_move) {
  JobEnd end(of({{"SLURM_JOB_ID", "17"}, {"SLURM_JOB_END_TIME", "1900000000"}}), answers("2035-01-01T00:00:00"));
  end.ask_again();
  EXPECT_GT(end.time(), 2'000'000'000);
}

TEST(JobEnd, of_a_strange_job_number_asks_nobody) {
  int asked = 0;
  EXPECT_EQ(JobEnd(of({{"SLURM_JOB_ID", "17; rm"}}), answers("x", &asked)).time(), std::nullopt);
  EXPECT_EQ(asked, 0);
}

TEST(FirstLineOf, is_what_a_command_prints) {
  EXPECT_EQ(first_line_of("printf 'a b \\nc\\n'"), "a b");
  EXPECT_EQ(first_line_of("false"), std::nullopt);
}

}  // namespace
}  // namespace lmnet
