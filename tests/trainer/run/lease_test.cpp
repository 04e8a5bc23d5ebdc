#include "trainer/run/lease.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "model/graph/errors.h"
#include "tests/trainer/checkpoint/helpers.h"
#include "trainer/checkpoint/errors.h"
#include "trainer/checkpoint/file_io.h"

namespace lmnet {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

constexpr LeaseTimes kQuick{milliseconds(20), milliseconds(400)};

/// Writes the lease of a process that this test plays.
void write_lease(const fs::path& folder, const LeaseHolder& holder) {
  std::ofstream(RunLease::file_in(folder))
      << nlohmann::json{{"host", holder.host}, {"machine", holder.machine}, {"pid", holder.pid},
                        {"born", holder.born}, {"since", holder.since},     {"id", holder.id}};
}

void set_age(const fs::path& file, int seconds) {
  const timespec then{std::time(nullptr) - seconds, 0};
  const timespec both[2] = {then, then};
  ASSERT_EQ(::utimensat(AT_FDCWD, file.c_str(), both, 0), 0);
}

std::string refusal_of(const fs::path& folder) {
  try {
    const RunLease lease(folder);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "taken";
}

size_t files_in(const fs::path& folder) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST(RunLease, belongs_to_one_at_a_time_and_is_given_back) {
  const TemporaryFolder place;
  {
    const RunLease lease(place.path());
    EXPECT_EQ(look_at_lease(place.path()).kind, LeaseState::Kind::held);
    EXPECT_THAT(refusal_of(place.path()), HasSubstr("process " + std::to_string(getpid()) + " on "));
    EXPECT_EQ(files_in(place.path()), 1U);
  }
  EXPECT_EQ(files_in(place.path()), 0U);
  EXPECT_EQ(refusal_of(place.path()), "taken");
}

TEST(RunLease, of_a_process_that_is_dead_here_is_taken_at_once) {
  const TemporaryFolder place;
  const pid_t child = fork();
  if (child == 0) _exit(0);
  ::waitpid(child, nullptr, 0);
  LeaseHolder holder = this_process();
  holder.pid = child;
  write_lease(place.path(), holder);
  EXPECT_EQ(look_at_lease(place.path()).kind, LeaseState::Kind::dead);
  EXPECT_EQ(refusal_of(place.path()), "taken");
  EXPECT_EQ(files_in(place.path()), 0U);
}

TEST(RunLease, of_a_process_whose_number_another_one_has_now_is_taken_at_once) {
  const TemporaryFolder place;
  LeaseHolder holder = this_process();
  --holder.born;
  write_lease(place.path(), holder);
  EXPECT_EQ(refusal_of(place.path()), "taken");
}

TEST(RunLease, of_another_machine_is_taken_when_it_was_silent_for_a_minute) {
  const TemporaryFolder place;
  LeaseHolder holder = this_process();
  holder.host = "h7", holder.machine = "another boot", holder.pid = 3;
  write_lease(place.path(), holder);
  set_age(RunLease::file_in(place.path()), 50);
  EXPECT_THAT(refusal_of(place.path()), HasSubstr("process 3 on h7"));
  EXPECT_THAT(refusal_of(place.path()), ::testing::ContainsRegex("5[0-5] s ago"));
  set_age(RunLease::file_in(place.path()), 61);
  EXPECT_EQ(look_at_lease(place.path()).kind, LeaseState::Kind::dead);
  EXPECT_EQ(refusal_of(place.path()), "taken");
}

TEST(RunLease, is_waited_for_with_patience) {
  const TemporaryFolder place;
  LeaseHolder holder = this_process();
  holder.machine = "another boot";
  write_lease(place.path(), holder);
  const RunLease lease(place.path(), milliseconds(10'000), kQuick);
  EXPECT_NE(lease.id(), holder.id);
}

TEST(RunLease, stays_alive_by_its_heartbeat) {
  const TemporaryFolder place;
  RunLease lease(place.path(), {}, kQuick);
  for (int i = 0; i < 10; ++i) {
    std::this_thread::sleep_for(milliseconds(100));
    LeaseState state = look_at_lease(place.path());
    EXPECT_LT(state.silent, milliseconds(400));
  }
  EXPECT_NO_THROW(lease.require());
}

TEST(RunLease, that_was_taken_over_is_noticed) {
  const TemporaryFolder place;
  RunLease lease(place.path(), {}, kQuick);
  LeaseHolder other = this_process();
  other.host = "h9";
  write_lease(place.path(), other);
  std::this_thread::sleep_for(milliseconds(100));
  try {
    lease.require();
    FAIL() << "goes on";
  } catch (const CheckpointError& error) {
    EXPECT_THAT(error.what(), HasSubstr("on h9 has taken it over"));
  }
}

TEST(RunLease, that_was_taken_over_stays_with_the_other) {
  const TemporaryFolder place;
  LeaseHolder other = this_process();
  {
    const RunLease lease(place.path(), {}, kQuick);
    write_lease(place.path(), other);
  }
  EXPECT_EQ(look_at_lease(place.path()).holder.id, other.id);
}

TEST(RunLease, whose_file_somebody_removed_comes_back) {
  const TemporaryFolder place;
  RunLease lease(place.path(), {}, kQuick);
  fs::remove(RunLease::file_in(place.path()));
  std::this_thread::sleep_for(milliseconds(100));
  EXPECT_NO_THROW(lease.require());
  EXPECT_EQ(look_at_lease(place.path()).holder.id, lease.id());
}

TEST(RunLease, is_not_lost_to_what_cannot_be_read) {
  const TemporaryFolder place;
  RunLease lease(place.path(), {}, kQuick);
  write_text(RunLease::file_in(place.path()), "");
  std::this_thread::sleep_for(milliseconds(100));
  EXPECT_NO_THROW(lease.require());
  fs::remove(RunLease::file_in(place.path()));
  fs::create_symlink("lease.json", RunLease::file_in(place.path()));  // no ENOENT
  std::this_thread::sleep_for(milliseconds(100));
  EXPECT_NO_THROW(lease.require());
}

TEST(RunLease, is_had_by_one_of_many_that_find_it_dead) {
  const TemporaryFolder place;
  for (int round = 0; round < 20; ++round) {
    LeaseHolder dead = this_process();
    --dead.born;
    write_lease(place.path(), dead);
    std::atomic<int> taken = 0, refused = 0;
    {
      std::vector<std::jthread> racers;
      std::atomic<int> done = 0;
      for (int r = 0; r < 8; ++r)
        racers.emplace_back([&] {
          try {
            const RunLease lease(place.path());
            ++taken, ++done;
            while (done < 8) std::this_thread::sleep_for(milliseconds(1));
          } catch (const ConfigError&) {
            ++refused, ++done;
          }
        });
    }
    EXPECT_EQ(taken, 1);
    EXPECT_EQ(refused, 7);
  }
}

}  // namespace
}  // namespace lmnet
