#include "parallel/launch_environment.h"

#include <gmock/gmock.h>

#include <map>

#include "parallel/errors.h"

namespace lmnet {
namespace {

using Values = std::map<std::string, std::string>;
using Launcher = LaunchEnvironment::Launcher;
using ::testing::AllOf;
using ::testing::Field;

LaunchEnvironment read(const Values& values) {
  return read_launch_environment([&](const char* name) -> const char* {
    const auto found = values.find(name);
    return found == values.end() ? nullptr : found->second.c_str();
  });
}

auto is(Launcher launcher, int rank, int size, int local_rank, int local_size) {
  using E = LaunchEnvironment;
  return AllOf(Field(&E::launcher, launcher), Field(&E::rank, rank), Field(&E::size, size),
               Field(&E::local_rank, local_rank), Field(&E::local_size, local_size));
}

std::string refusal(const Values& values, int mpi_size) {
  try {
    require_whole_world(read(values), mpi_size);
  } catch (const CommunicationError& error) {
    return error.what();
  }
  return "";
}

const Values kMpirun = {{"OMPI_COMM_WORLD_RANK", "5"},
                        {"OMPI_COMM_WORLD_SIZE", "8"},
                        {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                        {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"},
                        {"PMIX_RANK", "5"}};
const Values kSrun = {{"SLURM_PROCID", "4"},
                      {"SLURM_STEP_NUM_TASKS", "5"},
                      {"SLURM_LOCALID", "0"},
                      {"SLURM_NODEID", "2"},
                      {"SLURM_STEP_TASKS_PER_NODE", "2(x2),1"},
                      {"SLURM_NTASKS", "8"}};
const Values kTorchrun = {{"RANK", "3"}, {"WORLD_SIZE", "4"}, {"LOCAL_RANK", "1"}, {"LOCAL_WORLD_SIZE", "2"}};

TEST(LaunchEnvironment, without_a_launcher_is_one_rank) {
  EXPECT_THAT(read({}), is(Launcher::none, 0, 1, 0, 1));
  EXPECT_THAT(read({{"WORLD_SIZE", "many"}}), is(Launcher::none, 0, 1, 0, 1));
}

TEST(LaunchEnvironment, is_read_from_each_launcher) {
  EXPECT_THAT(read(kMpirun), is(Launcher::mpirun, 5, 8, 1, 4));
  EXPECT_THAT(read(kSrun), is(Launcher::srun, 4, 5, 0, 1));
  EXPECT_THAT(read(kTorchrun), is(Launcher::torchrun, 3, 4, 1, 2));
  EXPECT_THAT(read({{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}, {"MPI_LOCALRANKID", "1"}, {"MPI_LOCALNRANKS", "2"}}),
              is(Launcher::hydra, 1, 2, 1, 2));
}

TEST(LaunchEnvironment, ranks_of_pmix_come_before_those_of_slurm) {
  Values values = kSrun;
  values["PMIX_RANK"] = "3";
  EXPECT_EQ(read(values).rank, 3);
}

TEST(LaunchEnvironment, mpirun_comes_before_slurm_whose_variables_are_those_of_its_daemons) {
  Values values = kMpirun;
  values.insert(kSrun.begin(), kSrun.end());
  values.insert(kTorchrun.begin(), kTorchrun.end());
  EXPECT_THAT(read(values), is(Launcher::mpirun, 5, 8, 1, 4));
}

TEST(LaunchEnvironment, counts_the_tasks_of_the_own_node) {
  Values values = kSrun;
  values["SLURM_NODEID"] = "1";
  EXPECT_EQ(read(values).local_size, 2);
  values["SLURM_STEP_TASKS_PER_NODE"] = "7";
  values["SLURM_NODEID"] = "0";
  EXPECT_EQ(read(values).local_size, 7);
}

TEST(LaunchEnvironment, of_a_batch_script_is_one_rank) {
  EXPECT_THAT(read({{"SLURM_NTASKS", "8"}, {"SLURM_PROCID", "0"}}), is(Launcher::none, 0, 1, 0, 1));
}

TEST(RequireWholeWorld, says_the_cure_for_ranks_that_do_not_see_each_other) {
  EXPECT_EQ(
      refusal(kSrun, 1),
      "Slurm started 5 ranks, but MPI sees only one: start them with srun --mpi=pmix, or with mpirun inside the job");
  EXPECT_THAT(refusal(kTorchrun, 1), ::testing::HasSubstr("WORLD_SIZE says 4 ranks, but MPI sees only one: "));
  EXPECT_THAT(refusal(kMpirun, 1), ::testing::HasSubstr("of another MPI"));
}

TEST(RequireWholeWorld, takes_what_mpi_sees) {
  EXPECT_EQ(refusal(kMpirun, 8), "");
  EXPECT_EQ(refusal(kTorchrun, 2), "") << "variables of an outer launcher do not count beside mpirun";
  EXPECT_EQ(refusal({}, 1), "");
}

}  // namespace
}  // namespace lmnet
