#include "launch/sweep/slurm_launcher.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdlib>
#include <limits>
#include <map>
#include <sstream>

#include "launch/slurm/queue.h"
#include "launch/sweep/process.h"
#include "model/graph/errors.h"
#include "trainer/checkpoint/file_io.h"
#include "trainer/clock.h"
#include "trainer/run/folder.h"

namespace lmnet::sweep {
namespace {

namespace fs = std::filesystem;

constexpr double kAsk = 2;  // seconds between two questions to Slurm

/// The value of `NAME=value` in what scontrol prints.
std::string field(const std::string& description, const std::string& name) {
  std::istringstream words(description);
  for (std::string word; words >> word;)
    if (word.starts_with(name + "=")) return word.substr(name.size() + 1);
  return "";
}

class SlurmLauncher : public Launcher {
 public:
  SlurmLauncher(SweepFolder folder, SlurmOptions options) : folder_(std::move(folder)), options_(std::move(options)) {
    slurm::require_slurm("start the sweep where jobs are submitted, or without --launcher slurm");
  }

  size_t room() const override { return std::numeric_limits<size_t>::max(); }

  void start(const std::vector<const PlannedRun*>& runs, Records& records) override {
    std::map<int64_t, std::vector<const PlannedRun*>> by_ranks;
    for (const PlannedRun* run : runs) by_ranks[run->ranks].push_back(run);
    for (const auto& [ranks, array] : by_ranks) {
      const std::string job = submit(ranks, array);
      for (size_t i = 0; i < array.size(); ++i) {
        records.at(array[i]->name).job = fmt::format("{}_{}", job, i);
        running_[array[i]->name] = records.at(array[i]->name).job;
      }
      folder_.write(records);  // the next array may be refused
    }
  }

  bool find_again(const std::string& name, const Record& record) override {
    if (record.job.empty()) return false;
    running_[name] = record.job;  // poll() tells if it has ended
    return true;
  }

  std::vector<Ended> poll() override {
    if (running_.empty() || seconds_since(asked_) < kAsk) return {};
    asked_ = Clock::now();
    std::set<std::string> jobs;
    for (const auto& [name, job] : running_) jobs.insert(job);
    const auto queue = jobs_in_queue(jobs);
    std::vector<Ended> ended;
    if (!queue) return ended;
    for (auto run = running_.begin(); run != running_.end();) {
      if (queue->contains(run->second)) {
        ++run;
        continue;
      }
      ended.push_back(end_of(run->first, run->second));
      run = running_.erase(run);
    }
    return ended;
  }

  bool stop() override { return false; }

 private:
  std::string submit(int64_t ranks, const std::vector<const PlannedRun*>& array) {
    std::string list;
    for (const PlannedRun* run : array)
      list += fmt::format("{}\t{}\n", folder_.config(run->name).string(), folder_.log(run->name).string());
    fs::path file;
    for (int number = 1; path_exists(file = folder_.own() / fmt::format("array-{:03}.txt", number));) ++number;
    write_text(file, list);
    const fs::path script = launch_script("slurm/sweep.sbatch");
    std::vector<std::string> words = {fmt::format("--ntasks={}", ranks),
                                      fmt::format("--array=0-{}%{}", array.size() - 1, options_.jobs),
                                      "--job-name=" + folder_.path().filename().string()};
    const std::vector<std::string> more = shell_words(options_.sbatch);
    words.insert(words.end(), more.begin(), more.end());
    words.insert(words.end(),
                 {script.string(), script.parent_path().parent_path().string(), own_program().string(), file.string()});
    return slurm::submit_script(words);
  }

  Ended end_of(const std::string& name, const std::string& job) const {
    const JobEnd end = job_end(output_of({"scontrol", "show", "job", job}).second);
    Ended ended{name, end.code, "", end.taken_away};
    if (end.state.empty() && RunFolder(folder_.run(name)).status().state != "failed") {
      ended.reason = fmt::format("Slurm has forgotten its job {}", job);
      ended.stopped = true;
    } else if (end.taken_away || end.state == "OUT_OF_MEMORY") {
      ended.reason = fmt::format("the Slurm job {} ended as {}", job, end.state);
    }
    return ended;
  }

  SweepFolder folder_;
  SlurmOptions options_;
  std::map<std::string, std::string> running_;  // jobs by run
  Clock::time_point asked_;
};

}  // namespace

std::unique_ptr<Launcher> slurm_launcher(const SweepFolder& folder, const SlurmOptions& options) {
  return std::make_unique<SlurmLauncher>(folder, options);
}

std::optional<std::set<std::string>> jobs_in_queue(const std::set<std::string>& jobs) {
  std::set<std::string> arrays;
  for (const std::string& job : jobs) arrays.insert(job.substr(0, job.find('_')));
  const auto [code, text] =
      output_of({"squeue", "--noheader", "--array", "--format=%i", fmt::format("--jobs={}", fmt::join(arrays, ","))});
  // One that Slurm has forgotten is an error where it is the only one.
  if (code != 0 && text.find("Invalid job id") == std::string::npos) return std::nullopt;
  std::set<std::string> queue;
  std::istringstream lines(text);
  for (std::string job; lines >> job;)
    if (jobs.contains(job)) queue.insert(job);
  return queue;
}

JobEnd job_end(const std::string& description) {
  JobEnd end;
  end.state = field(description, "JobState");
  const std::string code = field(description, "ExitCode");  // code:signal
  const size_t colon = code.find(':');
  if (colon != std::string::npos) {
    const int signal = std::atoi(code.c_str() + colon + 1);
    end.code = signal != 0 ? 128 + signal : std::atoi(code.c_str());
  }
  end.taken_away =
      end.state != "COMPLETED" && end.state != "FAILED" && end.state != "OUT_OF_MEMORY" && !end.state.empty();
  return end;
}

}  // namespace lmnet::sweep
