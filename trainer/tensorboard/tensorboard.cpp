#include "trainer/tensorboard/tensorboard.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <climits>
#include <set>
#include <sstream>

#include "trainer/tensorboard/picture.h"

namespace lmnet {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

const std::string kPrefix = "events.out.tfevents.";

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// In the order in which they were begun.
std::vector<fs::path> event_files(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().filename().string().starts_with(kPrefix)) files.push_back(entry.path());
  std::ranges::sort(files);
  return files;
}

/// A name behind those of the files that are there.
std::string next_name(const std::vector<fs::path>& files) {
  auto time = static_cast<int64_t>(now());
  if (!files.empty()) {
    const std::string last = files.back().filename().string();
    time = std::max<int64_t>(time, std::atoll(last.c_str() + kPrefix.size()) + 1);
  }
  std::array<char, HOST_NAME_MAX + 1> host{};
  gethostname(host.data(), host.size() - 1);
  return fmt::format("{}{:010}.{}", kPrefix, time, host.data());
}

/// What is kept of earlier files: scalars up to the update; all else stands at step 0 and is written anew. Files that
/// were to be replaced when a run was killed hold the same again.
std::vector<EventBytes> kept_events(const std::vector<fs::path>& files, int64_t update) {
  std::vector<EventBytes> kept;
  std::set<EventBytes> seen;
  for (const fs::path& file : files)
    for (EventBytes& event : read_events(file)) {
      const auto step = step_of(event);
      if (step && *step > 0 && *step <= update && seen.insert(event).second) kept.push_back(std::move(event));
    }
  return kept;
}

/// Markdown that shows the text as it is.
std::string verbatim(const std::string& text) {
  std::istringstream lines(text);
  std::string result;
  for (std::string line; std::getline(lines, line);) result += "    " + line + "\n";
  return result;
}

void collect(const Json& json, const std::string& path, std::vector<std::pair<std::string, double>>& scalars) {
  for (const auto& [key, value] : json.items()) {
    const std::string tag = path.empty() ? key : path + "/" + key;
    if (value.is_object()) {
      collect(value, tag, scalars);
    } else if (value.is_number() && !(path.empty() && (key == "update" || key == "restart" || key == "time"))) {
      scalars.emplace_back(tag, value.get<double>());
    }
  }
}

}  // namespace

TensorBoard::TensorBoard(const fs::path& folder, int64_t update) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw_file_error("make the folder", folder, error.value());
  const std::vector<fs::path> before = event_files(folder);
  const fs::path path = folder / next_name(before), growing = temporary_name(path);
  file_.emplace(growing);
  std::vector<EventBytes> events = {version_event(now()), start_event(now())};
  std::ranges::move(kept_events(before, update), std::back_inserter(events));
  file_->add(events);
  file_->sync();
  rename_path(growing, path);
  for (const fs::path& old : before) remove_path(old);
}

void TensorBoard::describe(const std::string& config_yaml, const std::string& graph_text, const Graph& graph) {
  const Picture picture = draw_graph(graph);
  unwritten_.push_back(text_event(now(), 0, "config", verbatim(config_yaml)));
  unwritten_.push_back(text_event(now(), 0, "graph", verbatim(graph_text)));
  unwritten_.push_back(image_event(now(), 0, "topology", picture.width(), picture.height(), picture.png()));
  write();
}

void TensorBoard::add(const Json& metrics) {
  std::vector<std::pair<std::string, double>> scalars;
  collect(metrics, "", scalars);
  unwritten_.push_back(scalars_event(metrics.value("time", now()), metrics.value("update", int64_t{0}), scalars));
  write();
}

void TensorBoard::write() {
  file_->add(unwritten_);
  unwritten_.clear();
}

}  // namespace lmnet
