#pragma once
#include <exception>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "trainer/clock.h"
#include "trainer/console.h"
#include "trainer/run/folder.h"
#include "trainer/run/log.h"
#include "trainer/tensorboard/tensorboard.h"

namespace lmnet {

/// What one rank of a run tells: people by rank 0's output, every rank's log; programs by status.json and
/// metrics.jsonl, which rank 0 keeps.
class RunReport {
 public:
  /// `hosts` are those of the ranks of `world`; all outlive it.
  RunReport(const RunFolder& folder, const Communicator& world, const std::vector<std::string>& hosts);

  /// From here on there is a run folder, and a log, to which what was said before goes too. `restart`: how often the
  /// run was started before; `last_error`: what ended it then.
  void open(int restart, const std::string& last_error);
  bool opened() const { return log_.has_value(); }

  /// Where the run goes on, and what it is, for TensorBoard, which gets the metrics from here on.
  void open_tensorboard(int64_t update, const std::string& config_yaml, const Graph& graph);

  void say(const std::string& text);
  /// The line of an update that is logged: on a terminal the bar stands for it.
  void step(const std::string& line);
  /// How far the run is, after each update.
  void progress(const RunProgress& progress);
  /// Tells how far some work is that takes long.
  Advance task(const std::string& name);
  /// What cannot be written for the moment, on a full disk, is kept for later; the run goes on.
  void metrics(const nlohmann::ordered_json& line);
  void status(const std::string& state, int64_t update, const std::string& reason = "", int code = 0);
  /// Tells that the run goes on, unless that is already known and not asked for: a status.json that is older than
  /// 10 s is of a run that makes no updates.
  void running(int64_t update, bool now);

  /// What this rank knows of the end of a run that fails while it does `what`: its log, and status.json, where the
  /// first cause stays.
  void failed(const std::exception& error, const std::string& what, int64_t update);

 private:
  std::string here() const;
  RunFolder::Status with_past(RunFolder::Status status) const;
  void try_to_write(const char* what, const std::function<void()>& write);

  const RunFolder& folder_;
  const Communicator& world_;
  const std::vector<std::string>& hosts_;
  bool first_;                      // rank 0
  std::optional<Console> console_;  // rank 0's
  std::optional<Log> log_;
  std::optional<TensorBoard> tensorboard_;
  std::vector<std::string> before_log_;
  std::string unwritten_;         // lines of metrics
  std::set<std::string> warned_;  // what cannot be written
  int restart_ = 0;
  std::string last_error_;
  Clock::time_point told_ = Clock::now();
};

}  // namespace lmnet
