#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sched.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>

#include "launch/sweep/launcher.h"
#include "launch/sweep/process.h"
#include "trainer/checkpoint/file_io.h"

namespace lmnet::sweep {
namespace {

namespace fs = std::filesystem;

int own_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

/// What CUDA_VISIBLE_DEVICES names, else the devices of the machine.
std::vector<std::string> own_devices() {
  std::vector<std::string> devices;
  if (const char* visible = std::getenv("CUDA_VISIBLE_DEVICES")) {
    std::istringstream list(visible);
    for (std::string device; std::getline(list, device, ',');) devices.push_back(device);
    return devices;
  }
  while (fs::exists(fmt::format("/dev/nvidia{}", devices.size()))) devices.push_back(std::to_string(devices.size()));
  return devices;
}

class LocalLauncher : public Launcher {
 public:
  LocalLauncher(SweepFolder folder, LocalOptions options)
      : folder_(std::move(folder)), options_(std::move(options)), slots_(options_.jobs) {}

  size_t room() const override {
    return static_cast<size_t>(std::ranges::count_if(slots_, [](const auto& slot) { return !slot.has_value(); }));
  }

  void start(const std::vector<const PlannedRun*>& runs, Records&) override {
    for (const PlannedRun* run : runs) {
      const auto slot = std::ranges::find_if(slots_, [](const auto& taken) { return !taken.has_value(); });
      slot->emplace(Running{run->name, Process(command(*run, static_cast<size_t>(slot - slots_.begin())))});
    }
  }

  /// What a killed sweep left has ended when the lock is had.
  bool find_again(const std::string&, const Record&) override { return false; }

  std::vector<Ended> poll() override {
    std::vector<Ended> ended;
    for (auto& slot : slots_) {
      if (!slot) continue;
      const std::optional<int> code = slot->process.poll();
      if (!code) continue;
      ended.push_back({slot->name, *code, "", false});
      slot.reset();
    }
    return ended;
  }

  bool stop() override {
    for (const auto& slot : slots_)
      if (slot) slot->process.signal(SIGTERM);
    return true;
  }

 private:
  struct Running {
    std::string name;
    Process process;
  };

  Command command(const PlannedRun& run, size_t slot) const {
    Command command;
    const std::string program = own_program().string(), config = folder_.config(run.name).string();
    if (run.ranks == 1 && !options_.through_mpirun) {
      command.words = {program, "train", config};
    } else {
      command.words = {"bash",
                       "-c",
                       fmt::format("exec \"$0\" -np {} {} -- \"$@\"", run.ranks, options_.mpirun),
                       launch_script("mpirun").string(),
                       program,
                       "train",
                       config};
    }
    if (!options_.through_mpirun) share_machine(run, slot, command);
    command.log = folder_.log(run.name);
    command.inherited = options_.lock;
    return command;
  }

  void share_machine(const PlannedRun& run, size_t slot, Command& command) const {
    if (options_.jobs > 1 && std::getenv("OMP_NUM_THREADS") == nullptr)
      command.environment.emplace_back("OMP_NUM_THREADS",
                                       std::to_string(threads_of_rank(own_processors(), options_.jobs, run.ranks)));
    const std::string devices = devices_of_slot(own_devices(), options_.jobs, run.ranks, slot);
    if (!devices.empty()) command.environment.emplace_back("CUDA_VISIBLE_DEVICES", devices);
  }

  SweepFolder folder_;
  LocalOptions options_;
  std::vector<std::optional<Running>> slots_;
};

}  // namespace

std::unique_ptr<Launcher> local_launcher(const SweepFolder& folder, const LocalOptions& options) {
  return std::make_unique<LocalLauncher>(folder, options);
}

int threads_of_rank(int processors, size_t jobs, int64_t ranks) {
  return std::max(1, static_cast<int>(processors / (static_cast<int64_t>(jobs) * ranks)));
}

std::string devices_of_slot(const std::vector<std::string>& devices, size_t jobs, int64_t ranks, size_t slot) {
  const auto each = static_cast<size_t>(ranks);
  if (devices.size() < jobs * each) return "";
  const auto first = devices.begin() + static_cast<std::ptrdiff_t>(slot * each);
  return fmt::format("{}", fmt::join(first, first + static_cast<std::ptrdiff_t>(each), ","));
}

}  // namespace lmnet::sweep
