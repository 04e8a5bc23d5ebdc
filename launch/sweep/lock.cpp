#include "launch/sweep/lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <climits>
#include <csignal>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "model/graph/errors.h"
#include "trainer/checkpoint/file_io.h"

namespace lmnet::sweep {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::string host_name() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  gethostname(name.data(), name.size() - 1);
  return name.data();
}

/// Who wrote its name into the file.
struct Owner {
  std::string host;
  pid_t pid = 0;
};

Owner owner_in(const fs::path& file) {
  const Json json = Json::parse(read_text(file), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return {};
  return {json.value("host", ""), json.value("pid", 0)};
}

/// An mpirun that launch/mpirun gave a session of its own, and which outlived it. USR1 lets its ranks save and stop;
/// one whose launcher still lives has been told.
bool is_orphaned(pid_t holder, const std::vector<pid_t>& holders) {
  if (getsid(holder) != holder) return false;
  const std::string status = read_text(fmt::format("/proc/{}/status", holder));
  const size_t at = status.find("\nPPid:");
  const pid_t parent = at == std::string::npos ? 0 : std::atoi(status.c_str() + at + 6);
  return std::ranges::find(holders, parent) == holders.end();
}

/// Tells each of them once; `told` remembers.
void stop_orphans(const std::vector<pid_t>& holders, std::set<pid_t>& told) {
  for (pid_t holder : holders) {
    try {
      if (is_orphaned(holder, holders) && told.insert(holder).second) kill(holder, SIGUSR1);
    } catch (const std::exception&) {  // it has ended in between
    }
  }
}

}  // namespace

Lock::Lock(const fs::path& file, const std::function<void(const std::string&)>& tell,
           const std::function<bool()>& give_up) {
  file_ = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (file_ < 0) throw_file_error("open", file, errno);
  bool said = false;
  std::set<pid_t> told;
  while (flock(file_, LOCK_EX | LOCK_NB) != 0) {
    const Owner owner = owner_in(file);
    const std::vector<pid_t> running = holders(file);
    const bool alive = owner.host != host_name() || std::ranges::find(running, owner.pid) != running.end();
    if (give_up()) {
      close(file_);
      throw ConfigError(fmt::format("not started: processes {} still save and stop", fmt::join(running, ", ")));
    }
    if (alive) {
      close(file_);
      throw ConfigError(fmt::format("{} is at work already: process {} on {} (--status shows how far it is)",
                                    file.parent_path().parent_path().string(), owner.pid, owner.host));
    }
    if (!said)
      tell(fmt::format("waiting for the runs of a sweep that was killed to save and stop (processes {})",
                       fmt::join(running, ", ")));
    said = true;
    stop_orphans(running, told);
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  const std::string text = Json{{"pid", getpid()}, {"host", host_name()}}.dump();
  if (ftruncate(file_, 0) != 0 || pwrite(file_, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()))
    throw_file_error("write", file, errno);
}

Lock::~Lock() {
  if (file_ >= 0) close(file_);
}

std::vector<pid_t> Lock::holders(const fs::path& file) {
  std::vector<pid_t> found;
  const fs::path wanted = fs::weakly_canonical(file);
  std::error_code gone;
  for (const auto& process : fs::directory_iterator("/proc")) {
    const std::string name = process.path().filename().string();
    if (!std::isdigit(static_cast<unsigned char>(name.front()))) continue;
    const auto pid = static_cast<pid_t>(std::stol(name));
    if (pid == getpid()) continue;
    for (const auto& open_file : fs::directory_iterator(process.path() / "fd", gone)) {
      if (fs::read_symlink(open_file.path(), gone) != wanted) continue;
      found.push_back(pid);
      break;
    }
  }
  return found;
}

}  // namespace lmnet::sweep
