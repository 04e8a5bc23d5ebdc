#include "launch/sweep/check.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <exception>
#include <map>
#include <set>

#include "model/graph/errors.h"
#include "model/network.h"
#include "trainer/describe.h"
#include "trainer/hugging_face/network_config.h"
#include "trainer/run/check.h"
#include "trainer/run/folder.h"
#include "trainer/schedule.h"
#include "trainer/sources.h"
#include "trainer/together.h"

namespace lmnet::sweep {
namespace {

namespace fs = std::filesystem;

/// The overrides of a run, and where in the sweep file each one stands.
struct Arguments {
  std::vector<std::string> texts;
  std::map<std::string, std::string> places;
};

Arguments arguments_of(const Cell& cell, std::span<const std::string> overrides) {
  Arguments arguments;
  for (const Setting& setting : cell.settings) {
    arguments.texts.push_back(argument_of(setting));
    arguments.places[arguments.texts.back()] = setting.value.where;
  }
  arguments.texts.insert(arguments.texts.end(), overrides.begin(), overrides.end());
  return arguments;
}

/// `argument "model.topology=1-x-1": …` is what a line of the sweep file says.
std::string at_its_place(const std::string& sentence, const Arguments& arguments) {
  for (const auto& [text, place] : arguments.places) {
    const std::string begin = fmt::format("argument \"{}\": ", text);
    if (sentence.starts_with(begin)) return place + ": " + sentence.substr(begin.size());
  }
  return sentence;
}

Facts facts_of(const Config& config, const ModelSpec& spec) {
  Facts facts;
  const ParameterCount count = count_parameters(spec.shape, spec.graph);
  facts.parameters = count.total();
  facts.tokens_per_update = config.train.global_batch * config.data.sequence_length;
  StageConfig all;
  for (const StageConfig& stage : config.train.stages) {
    all.trains.insert(all.trains.end(), stage.trains.begin(), stage.trains.end());
    facts.stages.push_back({stage.name, Schedule(stage, facts.tokens_per_update).updates(),
                            training_flops_per_token(spec, parse_trains(stage), config.data.sequence_length)});
  }
  facts.trainable = count.trainable(parse_trains(all));
  return facts;
}

class Checker {
 public:
  Checker(fs::path folder, std::span<const std::string> overrides, CheckOf what)
      : folder_(std::move(folder)), overrides_(overrides), what_(what) {}

  void check(const Cell& cell) {
    const Arguments arguments = arguments_of(cell, overrides_);
    std::set<std::string> faults;
    // Whether the part holds; what a user can cause is noted.
    const auto holds = [&](const auto& part) {
      try {
        part();
        return true;
      } catch (const std::exception& error) {
        if (exit_code(error) != 2 && exit_code(error) != 3) throw;
        const std::string fault = at_its_place(sentence(error), arguments);
        if (faults.insert(fault).second) add_fault(cell.name, fault);
        return false;
      }
    };
    CheckedCell checked{cell, {}, {}};
    Config imagined;  // with the shape of what is not there yet
    const bool read = holds([&] { imagined = read_config(checked, arguments); });
    if (read) {
      const int ranks = static_cast<int>(cell.ranks);
      // One wrong thing does not hide another.
      holds([&] { check_layout(imagined, ranks); });
      holds([&] { resolve_model(imagined.model); });
      holds([&] { checked.facts = facts_of(imagined, check_run(imagined, ranks).model); });
      const RunFolder folder(checked.config.run.folder());
      if (what_ == CheckOf::starts && folder.status().state != "done") holds([&] { look_at_data(imagined.data); });
      if (folder.exists()) holds([&] { folder.compare(checked.config); });
    }
    done_.push_back(std::move(checked));
    if (!faults.empty()) impossible_.insert(cell.name);
  }

  std::vector<CheckedCell> result(const std::string& where, size_t all) const {
    if (faults_.empty()) return done_;
    std::string text =
        fmt::format("{}: {} of {} runs cannot be made; nothing was started", where, impossible_.size(), all);
    for (const auto& [fault, cells] : faults_) {
      constexpr size_t kNamed = 3;
      const auto named = std::span(cells).first(std::min(kNamed, cells.size()));
      const std::string more = cells.size() > kNamed ? fmt::format(" and {} more", cells.size() - kNamed) : "";
      text += fmt::format("\n  {}\n    in {}{}", fault, fmt::join(named, " "), more);
    }
    throw ConfigError(text);
  }

 private:
  /// Runs of one sweep mostly have the same.
  void look_at_data(const DataConfig& data) {
    auto seen = std::ranges::find(data_, data, &std::pair<DataConfig, std::exception_ptr>::first);
    if (seen == data_.end()) {
      seen = data_.insert(data_.end(), {data, nullptr});
      try {
        check_files(data);
      } catch (...) {
        seen->second = std::current_exception();
      }
    }
    if (seen->second) std::rethrow_exception(seen->second);
  }

  void add_fault(const std::string& cell, const std::string& fault) {
    const auto same = std::ranges::find(faults_, fault, &std::pair<std::string, std::vector<std::string>>::first);
    if (same == faults_.end()) {
      faults_.push_back({fault, {cell}});
    } else {
      same->second.push_back(cell);
    }
  }

  /// Fills in the config of the cell; returns it as it can be checked: the run that it takes may not be there yet.
  Config read_config(CheckedCell& checked, const Arguments& arguments) const {
    const Cell& cell = checked.cell;
    Config config = load_config(cell.base, arguments.texts);
    config.run.name = cell.name;
    config.run.dir = folder_;
    Config imagined = config;
    for (const Cell::Need& need : cell.needs) {
      const fs::path run = folder_ / need.run;
      if (impossible_.contains(need.run))
        throw ConfigError(fmt::format("{}: {}, which it needs, cannot be made", cell.base, need.run));
      const Config& prepared =
          std::ranges::find_if(done_, [&](const CheckedCell& other) { return other.cell.name == need.run; })->config;
      if (need.key == "model.backbone") {
        config.model.backbone = imagined.model.backbone = run.string();
        config.model.backbone_json = imagined.model.backbone_json = "";
        if (!find_checkpoint(run)) imagine_backbone(imagined, prepared);
      } else {
        config.run.resume = run.string();
        changes_on_resume(prepared, config, run.string());
      }
    }
    checked.config = config;
    return imagined;
  }

  static void imagine_backbone(Config& config, const Config& prepared) {
    const ModelSpec spec = resolve_model(prepared.model);
    if (!is_plain(spec))
      throw ConfigError(fmt::format("{}: {} is no backbone: that has topology 1, no input edge, prefix or classes",
                                    prepared.where, prepared.run.name));
    config.model.backbone.clear();
    config.model.backbone_json = spec.shape.backbone.to_json();
    if (config.data.tokenizer == "auto") config.data.tokenizer = prepared.data.tokenizer;
  }

  fs::path folder_;
  std::span<const std::string> overrides_;
  CheckOf what_;
  std::vector<std::pair<DataConfig, std::exception_ptr>> data_;  // that was looked at, and what is wrong with it
  std::vector<CheckedCell> done_;
  std::set<std::string> impossible_;
  std::vector<std::pair<std::string, std::vector<std::string>>> faults_;  // and the runs that have it
};

}  // namespace

std::vector<CheckedCell> check_cells(const SweepFile& file, const std::vector<Cell>& cells,
                                     std::span<const std::string> overrides, CheckOf what) {
  Checker checker(folder_of(file, overrides), overrides, what);
  for (const Cell& cell : cells) checker.check(cell);
  return checker.result(file.where, cells.size());
}

fs::path folder_of(const SweepFile& file, std::span<const std::string> overrides) {
  Cell any;
  any.base = file.base;
  any.settings = file.set;
  const Arguments arguments = arguments_of(any, overrides);
  try {
    return load_config(file.base, arguments.texts).run.dir / file.name;
  } catch (const ConfigError& error) {
    throw ConfigError(at_its_place(error.what(), arguments));
  }
}

}  // namespace lmnet::sweep
