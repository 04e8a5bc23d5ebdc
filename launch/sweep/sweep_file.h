#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "trainer/config/tree.h"

namespace lmnet::sweep {

using config::Node;

/// A key of a config and the value that it gets, with the place in the sweep file in `value.where`.
struct Setting {
  std::string key;
  Node value;
};
using Settings = std::vector<Setting>;

/// A key and the values that it takes in turn.
struct Axis {
  std::string key;
  std::vector<Node> values;
  std::string where;
};

/// One entry of `list`.
struct Entry {
  std::string name;  // empty: made of its settings
  Settings settings;
};

/// Holds for a cell that gives every key one of its values.
using Condition = std::vector<Axis>;

/// What cells get where a condition holds.
struct Rule {
  Condition is;
  Settings set;
};

/// A run that cells need before they start, made once and shared.
struct Preparation {
  std::string name;
  std::string base;               // a config; empty: that of the cells
  int64_t ranks = 0;              // 0: as many as a cell has
  Settings set;                   // for it alone
  std::vector<std::string> each;  // keys of the cells: one such run for every combination of their values
  std::string as;                 // the key that its run is given to: model.backbone or run.resume
  std::string where;
};

/// A sweep as its file says it: one config, and what varies. `lmnet help sweep` and docs/sweeps.md tell what the keys
/// mean.
struct SweepFile {
  std::string name;  // of the folder of its runs
  std::string base;
  int64_t ranks = 1, jobs = 1;
  std::vector<Preparation> prepare;
  Settings set;
  std::vector<int64_t> seeds;
  std::vector<Entry> list;
  std::vector<Axis> pairs, grid;
  std::vector<Rule> when;
  std::vector<Condition> skip;
  std::string where;  // the file, for errors
};

/// Reads a sweep file. Strict as a config is: throws ConfigError with file:line, key and the nearest name.
SweepFile read_sweep(const std::filesystem::path& file);
/// The same from text; `where` stands for the file in errors, its stem is the name that a sweep without one gets.
SweepFile parse_sweep(const std::string& yaml, const std::string& where);

}  // namespace lmnet::sweep
