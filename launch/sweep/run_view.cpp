#include "launch/sweep/run_view.h"

#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "trainer/run_folder.h"

namespace lmnet::sweep {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

/// The end of a file, from the beginning of a line on; nothing of one that is not there.
std::string tail(const fs::path& file, std::streamoff bytes) {
  std::ifstream in(file, std::ios::binary | std::ios::ate);
  if (!in) return "";
  const std::streamoff size = in.tellg();
  in.seekg(std::max<std::streamoff>(0, size - bytes));
  std::string text;
  if (size > bytes) std::getline(in, text);  // the rest of a line
  text.assign(std::istreambuf_iterator<char>(in), {});
  return text;
}

template <class Take>
void for_each_line(const std::string& text, const Take& take) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) take(line);
}

void take_number(const Json& json, const char* key, std::optional<double>& value) {
  if (const auto found = json.find(key); found != json.end() && found->is_number()) value = found->get<double>();
}

}  // namespace

RunView view_of(const SweepFolder& folder, const PlannedRun& run, const Record& record) {
  RunView view;
  view.name = run.name;
  view.record = record;
  for (const Facts::Stage& stage : run.facts.stages) view.updates += stage.updates;
  constexpr std::streamoff kEnough = 16 << 10;
  std::optional<double> seconds;
  for_each_line(tail(folder.run(run.name) / "metrics.jsonl", kEnough), [&](const std::string& line) {
    const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object()) return;
    view.update = json.value("update", view.update);
    take_number(json, "loss", view.loss);
    take_number(json, "validation_loss", view.validation_loss);
    take_number(json, "tokens_per_s", view.tokens_per_s);
    take_number(json, "seconds", seconds);
  });
  if (record.state == Record::State::running && seconds)
    view.seconds_left = *seconds * static_cast<double>(view.updates - view.update);
  return view;
}

std::string reason_of(const SweepFolder& folder, const std::string& run, int code) {
  const RunFolder::Status status = RunFolder(folder.run(run)).status();
  if ((status.state == "failed" || status.state == "stopped") && !status.reason.empty()) return status.reason;
  std::string said;
  constexpr std::streamoff kEnough = 16 << 10;
  for_each_line(tail(folder.log(run), kEnough), [&](const std::string& line) {
    for (const std::string_view who : {"lmnet: ", "launch/mpirun: "})
      if (line.starts_with(who)) said = line.substr(who.size());
  });
  if (!said.empty()) return said;
  return code > 128 ? fmt::format("ended by signal {}", code - 128) : fmt::format("ended with code {}", code);
}

}  // namespace lmnet::sweep
