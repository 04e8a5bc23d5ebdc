#include "trainer/run_folder.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "model/graph/errors.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/checkpoint/errors.h"

namespace lmnet {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

[[noreturn]] void fail(const fs::path& file) {
  throw CheckpointError(
      fmt::format("{}: cannot write: {}; free space or name another run.dir", file.string(), std::strerror(errno)));
}

std::string now() {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(std::chrono::system_clock::now())));
}

}  // namespace

void replace_file(const fs::path& file, std::string_view content) {
  fs::path temporary = file.parent_path() / ("." + file.filename().string() + ".tmp");
  std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
  out << content;
  out.close();
  if (!out) fail(temporary);
  std::error_code error;
  fs::rename(temporary, file, error);
  if (error) {
    errno = error.value();
    fail(file);
  }
}

fs::path RunFolder::log(int rank) const {
  return folder_ / "logs" / fmt::format("rank-{:03}.log", rank);
}

std::vector<std::string> RunFolder::compare(const Config& config) const {
  std::vector<std::string> changed, refused;
  Config saved = load_config(folder_ / "config.yaml");
  for (const ConfigDifference& difference : compare_on_resume(saved, config))
    (difference.allowed ? changed : refused)
        .push_back(fmt::format("{}: {} → {}", difference.key, difference.old_value, difference.new_value));
  if (!refused.empty())
    throw ConfigError(
        fmt::format("{} belongs to a run with another config: {}; choose another run.name, or take these "
                    "changes back",
                    folder_.string(), fmt::join(refused, ", ")));
  return changed;
}

void RunFolder::open(const Config& config, const std::string& plan) const {
  std::error_code error;
  fs::create_directories(folder_ / "logs", error);
  if (!error) fs::create_directories(checkpoints(), error);
  if (error) {
    errno = error.value();
    fail(folder_);
  }
  replace_file(folder_ / "config.yaml", to_yaml(config));
  replace_file(folder_ / "plan.txt", plan);
}

void RunFolder::cut_metrics(int64_t update) const {
  fs::path file = folder_ / "metrics.jsonl";
  if (!fs::exists(file)) return;
  std::ifstream in(file);
  std::string kept, line;
  while (std::getline(in, line)) {
    Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    // A line that was cut off by a kill is dropped too.
    if (json.is_object() && json.value("update", int64_t{0}) <= update) kept += line + "\n";
  }
  replace_file(file, kept);
}

void RunFolder::set_damaged_aside(int64_t update) const {
  for (const fs::path& folder : list_checkpoints(checkpoints())) {
    if (folder.filename().string() <= folder_name(update)) continue;
    fs::path aside = checkpoints() / ("damaged-" + folder.filename().string());
    fs::remove_all(aside);
    fs::rename(folder, aside);
  }
}

void RunFolder::add_metrics(const Json& line) const {
  fs::path file = folder_ / "metrics.jsonl";
  std::ofstream out(file, std::ios::binary | std::ios::app);
  out << line.dump() << std::endl;
  if (!out) fail(file);
}

void RunFolder::set_status(const Status& status) const {
  replace_file(folder_ / "status.json", Json{{"state", status.state},
                                             {"reason", status.reason},
                                             {"code", status.code},
                                             {"update", status.update},
                                             {"pid", getpid()},
                                             {"time", now()}}
                                                .dump(1) +
                                            "\n");
}

}  // namespace lmnet
