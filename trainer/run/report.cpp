#include "trainer/run/report.h"

#include <fmt/format.h>

#include <utility>

#include "parallel/errors.h"
#include "trainer/checkpoint/errors.h"
#include "trainer/describe.h"
#include "trainer/together.h"

namespace lmnet {

RunReport::RunReport(const RunFolder& folder, const Communicator& world, const std::vector<std::string>& hosts)
    : folder_(folder), world_(world), hosts_(hosts), first_(world.rank() == 0) {
  if (first_) console_.emplace();
}

void RunReport::open(int restart, const std::string& last_error) {
  restart_ = restart;
  last_error_ = last_error;
  log_.emplace(folder_.log(world_.rank()));
  for (const std::string& text : std::exchange(before_log_, {})) log_->info(text);
}

void RunReport::say(const std::string& text) {
  if (log_)
    log_->info(text);
  else
    before_log_.push_back(text);
  if (console_) console_->say(text);
}

void RunReport::step(const std::string& line) {
  log_->info(line);
  if (console_) console_->step(line);
}

void RunReport::progress(const RunProgress& progress) {
  if (console_) console_->progress(progress);
}

Advance RunReport::task(const std::string& name) {
  return console_ ? console_->task(name) : [](int64_t, int64_t) {};
}

void RunReport::open_tensorboard(int64_t update, const std::string& config_yaml, const Graph& graph) {
  tensorboard_.emplace(folder_.tensorboard(), update);
  tensorboard_->describe(config_yaml, draw_topology(graph), graph);
}

void RunReport::try_to_write(const char* what, const std::function<void()>& write) {
  try {
    write();
    warned_.erase(what);
  } catch (const CheckpointError& error) {
    if (warned_.insert(what).second) say(fmt::format("warning: {}; the run goes on", error.what()));
  }
}

void RunReport::metrics(const nlohmann::ordered_json& line) {
  if (!first_) return;
  unwritten_ += line.dump() + "\n";
  try_to_write("metrics", [&] {
    folder_.add_metrics(unwritten_);
    unwritten_.clear();
  });
  if (tensorboard_) try_to_write("tensorboard", [&] { tensorboard_->add(line); });
}

void RunReport::status(const std::string& state, int64_t update, const std::string& reason, int code) {
  if (first_) try_to_write("status", [&] { folder_.set_status(with_past({state, reason, code, update})); });
  told_ = Clock::now();
}

/// What earlier starts have left stays.
RunFolder::Status RunReport::with_past(RunFolder::Status status) const {
  const bool known = first_ && log_;
  const RunFolder::Status before = known ? RunFolder::Status{} : folder_.status();
  status.restart = known ? restart_ : before.restart;
  if (status.last_error.empty()) status.last_error = known ? last_error_ : RunFolder::error_of(before);
  return status;
}

void RunReport::running(int64_t update, bool now) {
  constexpr double heartbeat = 10;
  if (first_ && (now || seconds_since(told_) > heartbeat)) status("running", update);
}

std::string RunReport::here() const {
  return fmt::format("rank {} on {}", world_.rank(), hosts_[world_.rank()]);
}

void RunReport::failed(const std::exception& error, const std::string& what, int64_t update) {
  if (log_) log_->error(fmt::format("{}, in {}: {}", here(), what, sentence(error)));
  const bool agreed = dynamic_cast<const AgreedError*>(&error) != nullptr;
  const bool told = dynamic_cast<const RankFailed*>(&error) != nullptr;
  // A rank that fails alone writes it itself; rank 0 what all agree on, and what it is told, in case that the rank
  // which failed cannot write.
  if ((agreed || told) && !first_) return;
  if (!std::filesystem::exists(folder_.path()) || (log_ && !agreed && folder_.status().state == "failed")) return;
  const bool own = !agreed && dynamic_cast<const CommunicationError*>(&error) == nullptr && world_.size() > 1;
  const std::string cause = own ? fmt::format("{}: {}", here(), sentence(error)) : sentence(error);
  // Refused before it began, it leaves the run that lies there where it stood.
  const int code = exit_code(error);
  const bool refused = !log_ && (code == 2 || code == 3);
  if (refused && folder_.status().state == "done") return;
  folder_.set_status(
      with_past({"failed", cause, code, log_ ? update : folder_.status().update, 0, refused ? "" : cause}));
}

}  // namespace lmnet
