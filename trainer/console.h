#pragma once
#include <cstdint>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>

#include "trainer/clock.h"
#include "trainer/terminal.h"

namespace lmnet {

/// Told by work that takes long: so much of all is done; `all` 0 where that is not known.
using Advance = std::function<void(int64_t done, int64_t all)>;

/// How far a run is.
struct RunProgress {
  int64_t update = 0, updates = 0;
  double loss = 0, tokens_per_s = 0, seconds_left = 0;
};

/// `update 120/2000 ███░░░░░░░  6 % · loss 2.3412 · 8529 tok/s · 12 min 05 s left`, on at most so many columns: what
/// matters least is left out first.
std::string run_bar(const RunProgress& progress, int columns, const TextStyle& style);
/// `saving 12/40 ███░░░░░░░ 30 % · 20 s left`; the time only where it is known.
std::string task_bar(const std::string& name, int64_t done, int64_t all, int columns, const TextStyle& style,
                     std::optional<double> seconds_left = {});

/// What people see of a program at work, on its standard output: on a terminal lines that stay, and below them bars
/// that move; elsewhere plain lines only, in `file`.
class Console {
 public:
  /// `file` is stderr for a program whose standard output is its result.
  explicit Console(std::optional<Terminal> terminal = Terminal::find(), TextStyle style = TextStyle::of_environment(),
                   std::FILE* file = stdout);
  explicit Console(std::FILE* file) : Console(Terminal::find(), TextStyle::of_environment(), file) {}
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  /// A line (or several) that stays.
  void say(const std::string& text);
  /// Moves the bar of a run.
  void progress(const RunProgress& progress);
  /// The line of an update that is logged: in a file that line, on a terminal the bar tells it.
  void step(const std::string& line);
  /// A bar for work that begins, shown until all is done; in a file a line now and then where it takes long.
  Advance task(const std::string& name);
  /// Takes the bars away.
  void clear();

 private:
  void advance(const std::string& name, int64_t done, int64_t all, std::optional<double> seconds_left);
  void draw();

  std::optional<Terminal> terminal_;
  TextStyle style_;
  std::FILE* file_;
  std::optional<LiveLines> live_;
  std::optional<RunProgress> progress_;
  struct Task {
    std::string name;
    int64_t done = 0, all = 0;
    std::optional<double> seconds_left = {};
  };
  std::optional<Task> task_;
  Clock::time_point drawn_, told_ = Clock::now();
};

/// A task of this console; without one, as on all ranks but the first, nothing is shown.
Advance task_of(Console* console, const std::string& name);

}  // namespace lmnet
