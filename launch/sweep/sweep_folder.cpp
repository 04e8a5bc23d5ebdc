#include "launch/sweep/sweep_folder.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

#include "model/graph/errors.h"
#include "trainer/checkpoint/errors.h"
#include "trainer/checkpoint/file_io.h"

namespace lmnet::sweep {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

using Named = std::pair<Record::State, std::string_view>;
constexpr std::array<Named, 5> kStates = {{{Record::State::waiting, "waiting"},
                                           {Record::State::running, "running"},
                                           {Record::State::stopped, "stopped"},
                                           {Record::State::failed, "failed"},
                                           {Record::State::done, "done"}}};

Record::State state_named(std::string_view name) {
  for (const auto& [state, word] : kStates)
    if (word == name) return state;
  return Record::State::waiting;
}

Json to_json(const PlannedRun& run) {
  Json json = {{"name", run.name},
               {"group", run.group},
               {"labels", run.labels},
               {"seed", run.seed},
               {"ranks", run.ranks},
               {"prepares", run.prepares},
               {"parameters", {{"total", run.facts.parameters}, {"trainable", run.facts.trainable}}},
               {"tokens_per_update", run.facts.tokens_per_update}};
  json["needs"] = Json::array();
  for (const Cell::Need& need : run.needs) json["needs"].push_back({{"run", need.run}, {"key", need.key}});
  for (const Facts::Stage& stage : run.facts.stages)
    json["stages"].push_back(
        {{"name", stage.name}, {"updates", stage.updates}, {"flops_per_token", stage.flops_per_token}});
  return json;
}

PlannedRun run_of(const Json& json) {
  PlannedRun run{json.at("name"),
                 json.at("group"),
                 json.at("labels"),
                 json.at("seed"),
                 {},
                 json.at("ranks"),
                 json.at("prepares"),
                 {}};
  for (const Json& need : json.at("needs")) run.needs.push_back({need.at("run"), need.at("key")});
  run.facts.parameters = json.at("parameters").at("total");
  run.facts.trainable = json.at("parameters").at("trainable");
  run.facts.tokens_per_update = json.at("tokens_per_update");
  for (const Json& stage : json.at("stages"))
    run.facts.stages.push_back({stage.at("name"), stage.at("updates"), stage.at("flops_per_token")});
  return run;
}

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw_file_error("make the folder", folder, error.value());
}

}  // namespace

std::string_view to_string(Record::State state) {
  return kStates[static_cast<size_t>(state)].second;
}

PlannedRun planned(const CheckedCell& checked) {
  const Cell& cell = checked.cell;
  return {cell.name,  cell.group, cell.labels,   cell.seed.value_or(""),
          cell.needs, cell.ranks, cell.prepares, checked.facts};
}

void SweepFolder::require_no_run(const std::string& where) const {
  if (RunFolder(folder_).exists() && !path_exists(own()))
    throw ConfigError(fmt::format("{}: {} is the folder of a run; give the sweep another name, or set run.dir", where,
                                  folder_.string()));
}

void SweepFolder::make() const {
  for (const char* part : {"configs", "logs"}) make_folder(own() / part);
}

void SweepFolder::write_plan(const std::vector<CheckedCell>& cells) const {
  Json runs = Json::array();
  for (const CheckedCell& checked : cells) {
    write_text(config(checked.cell.name), to_yaml(checked.config));
    runs.push_back(to_json(planned(checked)));
  }
  write_text(own() / "cells.json", runs.dump(1) + "\n");
}

std::vector<PlannedRun> SweepFolder::plan() const {
  const fs::path file = own() / "cells.json";
  if (!path_exists(file)) throw ConfigError(fmt::format("{}: this sweep was not started yet", folder_.string()));
  try {
    std::vector<PlannedRun> runs;
    for (const Json& json : Json::parse(read_text(file))) runs.push_back(run_of(json));
    return runs;
  } catch (const nlohmann::json::exception& error) {
    throw CheckpointError(
        fmt::format("{}: {}; start the sweep again, which writes it anew", file.string(), error.what()));
  }
}

void SweepFolder::write(const Records& records) const {
  Json json = Json::object();
  for (const auto& [name, record] : records)
    json[name] = {{"state", to_string(record.state)},
                  {"attempts", record.attempts},
                  {"code", record.code},
                  {"reason", record.reason},
                  {"job", record.job}};
  write_text(own() / "state.json", json.dump(1) + "\n");
}

Records SweepFolder::records() const {
  Records records;
  const fs::path file = own() / "state.json";
  if (!path_exists(file)) return records;
  const Json json = Json::parse(read_text(file), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) throw CheckpointError(fmt::format("{}: this is not what a sweep writes", file.string()));
  for (const auto& [name, entry] : json.items())
    records[name] = {state_named(entry.value("state", "")), entry.value("attempts", 0), entry.value("code", 0),
                     entry.value("reason", ""), entry.value("job", "")};
  return records;
}

}  // namespace lmnet::sweep
