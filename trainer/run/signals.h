#pragma once
#include <string>
#include <vector>

namespace lmnet {

/// Takes the named signals (`TERM`, `USR1`, …) as a wish to save and stop while it lives. Another one that comes a
/// second after the first or later acts as if nobody had taken it: it ends the process at once. One at a time in a
/// process.
class StopSignals {
 public:
  /// Throws ConfigError for a name it does not know.
  /// `on_interrupt`: a line that INT prints at once, since what it asks for may take a while; it outlives this.
  explicit StopSignals(const std::vector<std::string>& names, const char* on_interrupt = nullptr);
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  /// Takes these signals and no others from now on; one that came and is not among them acts as if nobody had taken it.
  /// Throws ConfigError as the constructor does.
  void take(const std::vector<std::string>& names);

  /// The number of the signal that came, 0 before one did.
  int received() const;
  /// `USR1`.
  static const char* name(int signal);

 private:
  std::vector<int> signals_;
};

}  // namespace lmnet
