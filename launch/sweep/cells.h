#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "launch/sweep/sweep_file.h"

namespace lmnet::sweep {

/// One run of a sweep: a cell, or what cells need before they start.
struct Cell {
  /// A run that must be done before this one starts, and the key that gets its folder.
  struct Need {
    std::string run, key;
    bool operator==(const Need&) const = default;
  };

  std::string name;   // of its folder: `topology=1-2-1,seed=2`
  std::string group;  // the name without the seed: the report averages over the cells of a group
  std::vector<std::pair<std::string, std::string>> labels;  // what varies, without the seed: `topology`, `1-2-1`
  std::optional<std::string> seed;                          // where seeds vary
  std::string base;                                         // the config's file
  int64_t ranks = 1;
  Settings settings;  // in the order in which they apply
  std::vector<Need> needs;
  bool prepares = false;  // others need it; no cell of the sweep's own
};

/// The runs that a sweep stands for, in the order in which they start: what is prepared, then the cells; seeds vary
/// slowest, then list, pairs and grid, in each the first key slowest. Throws ConfigError for keys given in two places,
/// conditions on keys that no cell has, names that two cells would share, and a sweep whose cells are all skipped.
std::vector<Cell> cells_of(const SweepFile& file);

/// `key=value` as `lmnet train` takes it.
std::string argument_of(const Setting& setting);

/// What stands in a cell's name for a value: `1-2-1`, `Qwen2.5-0.5B` for a path, `kind-linear` for `{kind: linear}`.
std::string label_of(const Node& value);

/// Each key by the end of its path, as much of it as tells it from the others: `topology`, `stages0.lr`.
std::vector<std::string> short_keys(const std::vector<std::string>& keys);

}  // namespace lmnet::sweep
