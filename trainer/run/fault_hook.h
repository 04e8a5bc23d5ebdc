#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lmnet {

/// Faults on purpose, for tests (tests/faults). The environment variable LMNET_FAULT holds words `key=value`, and a
/// semicolon between two faults:
///   rank=1             where
///   phase=checkpoint   start, step, checkpoint or evaluation: when the rank enters one; or a point of a save:
///                      save-snapshot (before the first file), save-file (before each but the first), save-manifest (before it),
///                      save-rename (before it), save-clean (an old checkpoint is on its way out)
///   update=3           the first of that phase at this update or later; without it the first
///   action=throw       throw throws; sleep prints a line on the error output and sleeps; kill ends the process by
///                      SIGKILL
///   seconds=2          how long it sleeps; without it an hour
/// Each happens once. Where the variable is not set, nothing is done.
class FaultHook {
 public:
  /// Throws ConfigError for words it does not know.
  FaultHook(const char* variable, int rank);

  void enter(std::string_view phase, int64_t update);

 private:
  struct Fault {
    int rank = -1;
    std::string phase, action;
    int64_t update = 0, seconds = 3600;
  };
  static Fault parse(const std::string& text);

  std::vector<Fault> faults_;  // this rank's that have not happened yet
};

}  // namespace lmnet
