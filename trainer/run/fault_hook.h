#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lmnet {

/// A fault on purpose, for tests (tests/faults). The environment variable LMNET_FAULT holds words `key=value`:
///   rank=1             where
///   phase=checkpoint   start, step, checkpoint or evaluation: when the rank enters one; or a point of a save:
///                      save-snapshot (taken), save-file (before each but the first), save-manifest (before it),
///                      save-rename (before it), save-clean (an old checkpoint is on its way out)
///   update=3           the first of that phase at this update or later; without it the first
///   action=throw       throw throws; sleep prints a line on the error output and sleeps; kill ends the process by
///                      SIGKILL
///   seconds=2          how long it sleeps; without it an hour
/// It happens once. Where the variable is not set, nothing is done.
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
  std::optional<Fault> fault_;  // this rank's, until it has happened
};

}  // namespace lmnet
