#include "trainer/run/folder.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <span>

#include "model/graph/errors.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/checkpoint/errors.h"
#include "trainer/checkpoint/file_io.h"
#include "trainer/run/lease.h"

namespace lmnet {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

std::string now() {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(std::chrono::system_clock::now())));
}

}  // namespace

fs::path RunFolder::log(int rank) const {
  return folder_ / "logs" / fmt::format("rank-{:03}.log", rank);
}

void RunFolder::require_no_sweep(const std::string& where) const {
  if (!exists() && path_exists(sweep()))
    throw ConfigError(
        fmt::format("{}: {} is the folder of a sweep; choose another run.name or run.dir", where, folder_.string()));
}

std::vector<std::string> RunFolder::compare(const Config& config) const {
  return changes_on_resume(load_config(folder_ / "config.yaml"), config, folder_.string());
}

void RunFolder::create() const {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) throw_file_error("write", folder_, error.value());
}

void RunFolder::open(const Config& config, const std::string& plan) const {
  std::error_code error;
  fs::create_directories(folder_ / "logs", error);
  if (!error) fs::create_directories(checkpoints(), error);
  if (error) throw_file_error("write", folder_, error.value());
  write_text(folder_ / "config.yaml", to_yaml(config));
  write_text(folder_ / "plan.txt", plan);
  if (const char* job = std::getenv("LMNET_JOB")) std::ofstream(job) << fs::absolute(folder_).string();
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
  write_text(file, kept);
}

void RunFolder::set_damaged_aside(int64_t update) const {
  for (const fs::path& folder : list_checkpoints(checkpoints())) {
    if (folder.filename().string() <= folder_name(update)) continue;
    set_aside(folder);
  }
}

void RunFolder::add_metrics(const std::string& lines) const {
  const fs::path path = folder_ / "metrics.jsonl";
  FileDescriptor file(path, O_WRONLY | O_CREAT);
  const uint64_t end = file.size();
  try {
    file.write(std::as_bytes(std::span(lines)), end);
  } catch (const CheckpointError&) {
    ::truncate(path.c_str(), static_cast<off_t>(end));
    throw;
  }
}

void RunFolder::set_status(const Status& status) const {
  // Ranks that fail at the same moment do not write into each other's file.
  const auto moment = std::chrono::steady_clock::now().time_since_epoch().count();
  const fs::path own = folder_ / fmt::format(".status-{}-{}.json", getpid(), moment);
  write_text(own, Json{{"state", status.state},
                       {"reason", status.reason},
                       {"code", status.code},
                       {"update", status.update},
                       {"restart", status.restart},
                       {"last_error", status.last_error},
                       {"host", this_process().host},
                       {"pid", getpid()},
                       {"time", now()}}
                          .dump(1) +
                      "\n");
  rename_path(own, folder_ / "status.json");
}

std::string RunFolder::error_of(const Status& status) {
  if (status.state == "starting" || status.state == "running")
    return fmt::format("ended without a word at update {}", status.update);
  return status.last_error;
}

RunFolder::Status RunFolder::status() const {
  const fs::path file = folder_ / "status.json";
  if (!path_exists(file)) return {};
  const Json json = Json::parse(read_text(file), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return {};
  return {json.value("state", ""),          json.value("reason", ""), json.value("code", 0),
          json.value("update", int64_t{0}), json.value("restart", 0), json.value("last_error", "")};
}

}  // namespace lmnet
