#include "trainer/run/lease.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <span>
#include <sstream>
#include <system_error>

#include "model/graph/errors.h"
#include "trainer/checkpoint/errors.h"
#include "trainer/checkpoint/file_io.h"

namespace lmnet {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;

namespace {

/// What the system tells of a process: its state and its start. Nothing for one that is not there.
struct ProcessFacts {
  char state = ' ';
  int64_t born = 0;
};
std::optional<ProcessFacts> facts_of(const std::string& process) {
  std::ifstream file("/proc/" + process + "/stat");
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  // proc(5): the name in parentheses may hold anything; state is the 3rd field, the start the 22nd.
  std::istringstream fields(line.substr(line.rfind(')') + 1));
  ProcessFacts facts;
  fields >> facts.state;
  std::string skipped;
  for (int field = 4; field < 22; ++field) fields >> skipped;
  fields >> facts.born;
  return fields ? std::optional(facts) : std::nullopt;
}

std::string machine() {
  std::ifstream boot_file("/proc/sys/kernel/random/boot_id");
  std::string boot;
  std::getline(boot_file, boot);
  std::error_code unknown;
  return boot + " " + fs::read_symlink("/proc/self/ns/pid", unknown).string();
}

Json to_json(const LeaseHolder& holder) {
  return {{"host", holder.host},   {"pid", holder.pid},         {"born", holder.born},
          {"since", holder.since}, {"machine", holder.machine}, {"id", holder.id}};
}

/// Nothing where there is no lease; a holder without id where the file tells nothing. Throws CheckpointError where that
/// cannot be known.
std::optional<LeaseHolder> read_holder(const fs::path& file) {
  errno = 0;
  std::ifstream in(file);
  if (!in && errno == ENOENT) return std::nullopt;
  if (!in) throw_file_error("read", file, errno);
  const Json json = Json::parse(in, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return LeaseHolder{};
  try {
    return LeaseHolder{json.at("host"), json.at("machine"), json.at("pid"),
                       json.at("born"), json.at("since"),   json.at("id")};
  } catch (const Json::exception&) {
    return LeaseHolder{};
  }
}

/// Whether the holder has ended, as far as this machine can tell.
bool known_dead(const LeaseHolder& holder) {
  if (holder.id.empty() || holder.machine != machine()) return false;
  const auto facts = facts_of(std::to_string(holder.pid));
  return !facts || facts->born != holder.born || facts->state == 'Z' || facts->state == 'X';
}

/// When a file was changed last, by the clock of its disk; nothing for one that is not there.
std::optional<milliseconds> changed(const fs::path& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) return std::nullopt;
  return milliseconds(status.st_mtim.tv_sec * 1000 + status.st_mtim.tv_nsec / 1'000'000);
}

/// Now, by the clock of the folder's disk; by this host's where it may not write there.
milliseconds now_in(const fs::path& folder) {
  std::string name = (folder / ".now-XXXXXX").string();
  const int file = ::mkstemp(name.data());
  if (file >= 0) {
    ::close(file);
    const auto now = changed(name);
    ::unlink(name.c_str());
    if (now) return *now;
  }
  return std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch());
}

/// `now` by the clock of the lease's disk.
LeaseState state_of(const fs::path& file, milliseconds now, LeaseTimes times) {
  LeaseState state;
  const auto holder = read_holder(file);
  const auto beaten = changed(file);
  if (!holder || !beaten) return state;
  state.holder = *holder;
  state.silent = std::max(milliseconds(0), now - *beaten);
  const bool dead = known_dead(*holder) || state.silent > times.stale;
  state.kind = dead ? LeaseState::Kind::dead : LeaseState::Kind::held;
  return state;
}

LeaseHeld refusal(const fs::path& folder, const LeaseState& state) {
  const std::string holder =
      state.holder.id.empty()
          ? "a run that is just beginning"
          : fmt::format("the run of process {} on {} (since {}, heard of {:.0f} s ago)", state.holder.pid,
                        state.holder.host, state.holder.since, std::chrono::duration<double>(state.silent).count());
  return LeaseHeld(fmt::format("{} belongs to {}; wait for its end or stop it, or choose another run.name",
                               folder.string(), holder));
}

class RemovedAtEnd {
 public:
  explicit RemovedAtEnd(fs::path path) : path_(std::move(path)) {}
  ~RemovedAtEnd() { ::unlink(path_.c_str()); }
  RemovedAtEnd(const RemovedAtEnd&) = delete;
  RemovedAtEnd& operator=(const RemovedAtEnd&) = delete;

 private:
  fs::path path_;
};

/// Gives a file a second name that nobody has; false where somebody has it.
bool link_new(const fs::path& from, const fs::path& to) {
  if (::link(from.c_str(), to.c_str()) == 0) return true;
  const int error = errno;
  struct stat status {};
  // The answer of a server may be lost where the deed is done.
  if (::stat(from.c_str(), &status) == 0 && status.st_nlink == 2) return true;
  if (error == EEXIST) return false;
  if (error != EPERM && error != EOPNOTSUPP && error != ENOSYS && error != EMLINK) throw_file_error("write", to, error);
  // A disk without links: whoever makes the name has it.
  const int file = ::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (file < 0 && errno == EEXIST) return false;
  if (file < 0) throw_file_error("write", to, errno);
  ::close(file);
  const std::string text = read_text(from);
  FileDescriptor(to, O_WRONLY).write(std::as_bytes(std::span(text)), 0);
  return true;
}

}  // namespace

LeaseHolder this_process() {
  LeaseHolder holder;
  char host[256] = {};
  ::gethostname(host, sizeof(host) - 1);
  holder.host = host;
  holder.machine = machine();
  holder.pid = ::getpid();
  holder.born = facts_of("self").value_or(ProcessFacts{}).born;
  holder.since = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
  std::random_device random;
  holder.id = fmt::format("{}-{}-{:08x}", host, holder.pid, random());
  return holder;
}

LeaseState look_at_lease(const fs::path& folder, LeaseTimes times) {
  const fs::path file = RunLease::file_in(folder);
  return path_exists(file) ? state_of(file, now_in(folder), times) : LeaseState{};
}

RunLease::RunLease(fs::path folder, milliseconds patience, LeaseTimes times)
    : file_(file_in(folder)), holder_(this_process()), times_(times) {
  const auto begun = SteadyClock::now();
  while (const auto in_the_way = try_to_take()) {
    const bool held = in_the_way->kind == LeaseState::Kind::held;
    if (held && SteadyClock::now() - begun >= patience) throw refusal(folder, *in_the_way);
    std::this_thread::sleep_for(milliseconds(held ? 200 : 1));
  }
  beaten_ = SteadyClock::now();
  thread_ = std::jthread([this](const std::stop_token& stop) { keep(stop); });
}

RunLease::~RunLease() {
  thread_.request_stop();
  thread_.join();
  try {
    const auto holder = read_holder(file_);
    if (holder && holder->id == holder_.id) ::unlink(file_.c_str());
  } catch (const CheckpointError&) {  // it is free when this process has ended
  }
}

/// Nothing when the lease was taken, else what is in the way.
std::optional<LeaseState> RunLease::try_to_take() const {
  const fs::path own = file_.parent_path() / fmt::format(".lease-{}.json", holder_.id);
  const RemovedAtEnd remove_own(own);
  const std::string text = to_json(holder_).dump(1) + "\n";
  FileDescriptor(own, O_WRONLY | O_CREAT | O_TRUNC).write(std::as_bytes(std::span(text)), 0);
  if (link_new(own, file_)) return std::nullopt;
  const auto now = changed(own).value_or(milliseconds(0));
  LeaseState state = state_of(file_, now, times_);
  if (state.kind != LeaseState::Kind::dead) return state;
  // Of several that find it dead, one may put its own in its place.
  const fs::path successor = file_.parent_path() / fmt::format(".lease-after-{}.json", state.holder.id);
  if (link_new(own, successor)) {
    const RemovedAtEnd remove(successor);
    const auto still = read_holder(file_);
    if (still && still->id == state.holder.id) {
      rename_path(own, file_);
      return std::nullopt;
    }
  } else if (state_of(successor, now, times_).kind == LeaseState::Kind::dead) {
    ::unlink(successor.c_str());
  }
  return state;
}

bool RunLease::lost() {
  // This process may have stood still, its thread with it.
  std::unique_lock lock(mutex_);
  if (SteadyClock::now() - beaten_ > times_.stale / 2) {
    lock.unlock();
    beat();
    lock.lock();
  }
  return lost_;
}

void RunLease::require() {
  if (!lost()) return;
  const auto other = read_holder(file_);
  throw CheckpointError(fmt::format(
      "{} is no longer this run's: {}, since this process had stood still; it ends without writing there",
      file_.parent_path().string(),
      other && !other->id.empty() ? fmt::format("process {} on {} has taken it over", other->pid, other->host)
                                  : "its lease.json is gone"));
}

void RunLease::beat() {
  bool lost = false;
  try {
    auto holder = read_holder(file_);
    // Somebody has removed it; another run may have been faster.
    if (!holder && try_to_take()) holder = read_holder(file_);
    lost = holder && !holder->id.empty() && holder->id != holder_.id;
    if (!lost) ::utimensat(AT_FDCWD, file_.c_str(), nullptr, 0);
  } catch (const CheckpointError&) {
    std::error_code unknown;
    lost = !fs::exists(file_.parent_path(), unknown) && !unknown;  // a full disk is none of its business
  }
  const std::lock_guard lock(mutex_);
  lost_ = lost_ || lost;
  beaten_ = SteadyClock::now();
}

void RunLease::keep(const std::stop_token& stop) {
  while (true) {
    {
      std::unique_lock lock(mutex_);
      stopped_.wait_for(lock, stop, times_.heartbeat, [] { return false; });
    }
    if (stop.stop_requested()) return;
    beat();
  }
}

}  // namespace lmnet
