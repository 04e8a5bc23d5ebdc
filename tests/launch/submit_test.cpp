#include "launch/slurm/submit.h"

#include <gmock/gmock.h>

#include "launch/slurm/queue.h"
#include "model/graph/errors.h"
#include "tests/samples.h"
#include "trainer/checkpoint/file_io.h"

namespace lmnet::slurm {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string script() {
  return read_text(test::repository() / "launch/slurm/train.sbatch");
}

TEST(SlurmTime, takes_units_and_what_slurm_writes) {
  EXPECT_EQ(slurm_time("90m"), "01:30:00");
  EXPECT_EQ(slurm_time("24h"), "1-00:00:00");
  EXPECT_EQ(slurm_time("1.5d"), "1-12:00:00");
  EXPECT_EQ(slurm_time("61s"), "00:02:00");
  EXPECT_EQ(slurm_time("1-12:00:00"), "1-12:00:00");
  EXPECT_EQ(slurm_time("30"), "30");
  EXPECT_THROW(slurm_time("soon"), ConfigError);
  EXPECT_THROW(slurm_time("24H"), ConfigError);
}

TEST(FilledInScript, has_what_was_asked_for_and_the_rest_as_it_was) {
  SubmitOptions options;
  options.nodes = 4;
  options.gpus_per_node = 8;
  options.time = "36h";
  options.launcher = "mpirun";
  options.sbatch = {"--partition=gpu", "--nice=5", "--comment=two words", "--exclusive"};
  const std::string text = filled_in_script(script(), options, SubmittedRun("runs/it's"));
  for (const char* line :
       {"\n#SBATCH --nodes=4\n", "\n#SBATCH --ntasks-per-node=8\n", "\n#SBATCH --gpus-per-node=8\n",
        "\n#SBATCH --time=1-12:00:00\n", "\n#SBATCH --partition=gpu\n", "\n#SBATCH --nice=5\n",
        "\n#SBATCH --exclusive\n", "\n#SBATCH --comment=\"two words\"\n", "\n##SBATCH --account=NAME\n",
        "\n#SBATCH --requeue\n", "\n#SBATCH --output=runs/it's/slurm/job-%j.out\n", "\nlauncher='mpirun'\n",
        "\nconfig='runs/it'\\''s/slurm/config.yaml'\n"})
    EXPECT_THAT(text, HasSubstr(line));
  EXPECT_THAT(text, Not(HasSubstr("--nodes=2")));
  EXPECT_LT(text.find("#SBATCH --nice"), text.find("set_up()"));
}

TEST(FilledInScript, gives_a_node_one_rank_unless_told_otherwise) {
  SubmitOptions options;
  EXPECT_THAT(filled_in_script(script(), options, SubmittedRun("runs/a")), HasSubstr("#SBATCH --ntasks-per-node=1\n"));
  options.gpus_per_node = 4, options.ranks_per_node = 2, options.cpus_per_rank = 6;
  const std::string text = filled_in_script(script(), options, SubmittedRun("runs/a"));
  EXPECT_THAT(text, HasSubstr("#SBATCH --ntasks-per-node=2\n"));
  EXPECT_THAT(text, HasSubstr("#SBATCH --cpus-per-task=6\n"));
}

TEST(FilledInScript, refuses_what_is_no_option_of_sbatch) {
  SubmitOptions options;
  options.sbatch = {"partition=gpu"};
  EXPECT_THROW(filled_in_script(script(), options, SubmittedRun("runs/a")), ConfigError);
}

TEST(JobNumber, is_the_last_that_sbatch_says) {
  EXPECT_EQ(job_number("17\n"), "17");
  EXPECT_EQ(job_number("17;cluster"), "17");
  EXPECT_EQ(job_number("sbatch: warning: 2 nodes are down\n17\n"), "17");
  EXPECT_THROW(job_number("sbatch: error: no partition"), ConfigError);
  EXPECT_THROW(job_number(""), ConfigError);
}

}  // namespace
}  // namespace lmnet::slurm
