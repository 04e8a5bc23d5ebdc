#include "launch/sweep/status_table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "trainer/describe.h"
#include "trainer/terminal.h"

namespace lmnet::sweep {
namespace {

using State = Record::State;

const char* color_of(State state) {
  switch (state) {
    case State::done:
      return "\x1b[32m";
    case State::failed:
      return "\x1b[31m";
    case State::running:
      return "\x1b[33m";
    default:
      return "";
  }
}

std::string loss_of(const RunView& run) {
  if (run.validation_loss) return fmt::format("validation loss {:.4f}", *run.validation_loss);
  return run.loss ? fmt::format("loss {:.4f}", *run.loss) : "";
}

std::string details(const RunView& run) {
  std::vector<std::string> parts;
  if (run.update > 0) parts.push_back(fmt::format("{}/{}", run.update, run.updates));
  if (const std::string loss = loss_of(run); !loss.empty()) parts.push_back(loss);
  if (run.tokens_per_s) parts.push_back(short_count(*run.tokens_per_s, "t/s"));
  if (run.seconds_left) parts.push_back(short_time(*run.seconds_left) + " left");
  if (!run.record.reason.empty()) parts.push_back(run.record.reason);
  return fmt::format("{}", fmt::join(parts, " · "));
}

std::string headline(const std::string& sweep, const std::vector<RunView>& runs) {
  std::vector<std::string> parts;
  for (State state : {State::done, State::running, State::waiting, State::stopped, State::failed}) {
    const auto count = std::ranges::count_if(runs, [&](const RunView& run) { return run.record.state == state; });
    if (count > 0) parts.push_back(fmt::format("{} {}", count, to_string(state)));
  }
  return fmt::format("sweep {} · {}: {}", sweep, counted(std::ssize(runs), "run"), fmt::join(parts, ", "));
}

std::string line_of(const RunView& run, int width, bool colors) {
  const std::string state(to_string(run.record.state));
  const std::string color = colors ? color_of(run.record.state) : "";
  return fmt::format("  {}{:<8}{} {}{}  {}", color, state, color.empty() ? "" : "\x1b[0m", run.name,
                     std::string(static_cast<size_t>(width - columns_of(run.name)), ' '), details(run));
}

}  // namespace

std::string outcome(const RunView& run) {
  const std::string what = details(run);
  const std::string code = run.record.state == State::failed ? fmt::format(" (code {})", run.record.code) : "";
  return fmt::format("{}{}{}{}", to_string(run.record.state), code, what.empty() ? "" : " · ", what);
}

std::vector<std::string> status_table(const std::string& sweep, const std::vector<RunView>& runs, bool colors,
                                      size_t rows) {
  int width = 0;
  for (const RunView& run : runs) width = std::max(width, columns_of(run.name));
  std::vector<const RunView*> shown;
  for (const RunView& run : runs) shown.push_back(&run);
  for (State state : {State::waiting, State::done, State::stopped, State::failed}) {
    for (size_t i = shown.size(); i-- > 0 && shown.size() + 2 > rows;)
      if (shown[i]->record.state == state) shown.erase(shown.begin() + static_cast<std::ptrdiff_t>(i));
  }
  std::vector<std::string> lines = {headline(sweep, runs)};
  for (const RunView* run : shown) lines.push_back(line_of(*run, width, colors));
  if (shown.size() < runs.size()) lines.push_back(fmt::format("  … and {} more", runs.size() - shown.size()));
  return lines;
}

}  // namespace lmnet::sweep
