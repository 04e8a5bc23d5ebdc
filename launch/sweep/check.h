#pragma once
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "launch/sweep/cells.h"
#include "trainer/config/config.h"

namespace lmnet::sweep {

/// What the report needs of a run beside its metrics.
struct Facts {
  struct Stage {
    std::string name;
    int64_t updates = 0;
    double flops_per_token = 0;  // forward and backward
  };
  int64_t parameters = 0, trainable = 0;  // trainable: in any stage
  int64_t tokens_per_update = 0;
  std::vector<Stage> stages;
};

/// A run that can be made.
struct CheckedCell {
  Cell cell;
  Config config;  // with the sweep's folder and the cell's name
  Facts facts;
};

enum class CheckOf {
  configs,  // alone: the data may lie elsewhere
  starts,   // also the files of data that each run would read
};

/// Reads the config of every run and checks it as `lmnet train --dry-run` does, writing nothing; `overrides` are added
/// to all. A run folder that is there already must be of the same config. Throws ConfigError that lists every fault
/// with the runs that have it.
std::vector<CheckedCell> check_cells(const SweepFile& file, const std::vector<Cell>& cells,
                                     std::span<const std::string> overrides = {}, CheckOf what = CheckOf::configs);

/// `runs/NAME`, by what the base config and the overrides give run.dir. Throws ConfigError where they cannot be read.
std::filesystem::path folder_of(const SweepFile& file, std::span<const std::string> overrides = {});

}  // namespace lmnet::sweep
