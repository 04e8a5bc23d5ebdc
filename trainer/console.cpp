#include "trainer/console.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "trainer/describe.h"

namespace lmnet {
namespace {

constexpr double kRedraw = 0.1, kTell = 30;  // seconds between two drawings of a bar, between two lines in a file
constexpr double kTimeKnown = 2;             // seconds after which the time left can be told
constexpr int kShortest = 8, kLongest = 30;  // cells of a bar

std::string bar(double share, int cells, const TextStyle& style) {
  const int full = static_cast<int>(std::clamp(share, 0.0, 1.0) * cells);
  std::string text = style.unicode ? "" : "[";
  for (int i = 0; i < cells; ++i) text += style.unicode ? (i < full ? "█" : "░") : (i < full ? "#" : ".");
  if (!style.unicode) return text + "]";
  return style.colors ? "\x1b[36m" + text + "\x1b[0m" : text;
}

/// The first of some forms of a line that has room, with a bar where there is room for one.
std::string fitted(const std::vector<std::pair<std::string, std::string>>& forms, double share, int columns,
                   const TextStyle& style) {
  const int frame = style.unicode ? 0 : 2;
  for (const auto& [head, tail] : forms) {
    const int room = columns - columns_of(head) - columns_of(tail) - 2 - frame;
    if (room < kShortest) continue;
    return fmt::format("{} {} {}", head, bar(share, std::min(room, kLongest), style), tail);
  }
  const std::string smallest = forms.back().second;
  return fit(smallest, columns, style.unicode ? "…" : "~");
}

double share_of(int64_t done, int64_t all) {
  return all > 0 ? static_cast<double>(done) / static_cast<double>(all) : 0;
}

}  // namespace

std::string run_bar(const RunProgress& progress, int columns, const TextStyle& style) {
  const double share = share_of(progress.update, progress.updates);
  const std::string count = fmt::format("{}/{}", progress.update, progress.updates);
  const std::string percent = fmt::format("{:2.0f} %", std::floor(100 * share));
  const std::string loss = fmt::format("loss {:.4f}", progress.loss);
  const std::string speed = short_count(progress.tokens_per_s) + " tok/s";
  const std::string left = short_time(progress.seconds_left) + " left";
  const auto joined = [&](const std::vector<std::string>& parts) {
    return fmt::format("{}", fmt::join(parts, style.unicode ? " · " : " - "));
  };
  return fitted({{"update " + count, joined({percent, loss, speed, left})},
                 {"update " + count, joined({percent, loss, left})},
                 {count, joined({percent, loss, left})},
                 {count, joined({percent, left})},
                 {count, percent},
                 {"", count}},
                share, columns, style);
}

std::string task_bar(const std::string& name, int64_t done, int64_t all, int columns, const TextStyle& style,
                     std::optional<double> seconds_left) {
  if (all <= 0) return fit(fmt::format("{} {}", name, done), columns, style.unicode ? "…" : "~");
  const double share = share_of(done, all);
  const std::string percent = fmt::format("{:2.0f} %", std::floor(100 * share));
  const std::string count = fmt::format("{} {}/{}", name, done, all);
  std::vector<std::pair<std::string, std::string>> forms = {{count, percent}, {name, percent}, {"", percent}};
  if (seconds_left)
    forms.insert(forms.begin(),
                 {count, fmt::format("{} {} {} left", percent, style.unicode ? "·" : "-", short_time(*seconds_left))});
  return fitted(forms, share, columns, style);
}

Console::Console(std::optional<Terminal> terminal, TextStyle style, std::FILE* file)
    : terminal_(std::move(terminal)), style_(style), file_(file) {
  if (terminal_) live_.emplace(*terminal_, style_);
}

void Console::say(const std::string& text) {
  if (live_) {
    live_->print(text);
    return;
  }
  fmt::print(file_, "{}\n", text);
  std::fflush(file_);
}

void Console::step(const std::string& line) {
  if (!live_) say(line);
}

void Console::progress(const RunProgress& progress) {
  progress_ = progress;
  if (live_ && (seconds_since(drawn_) > kRedraw || progress.update == progress.updates)) draw();
}

Advance Console::task(const std::string& name) {
  told_ = Clock::now();
  // What was there at the first call, of work that goes on, took no time.
  return [this, name, start = told_, first = int64_t{-1}](int64_t done, int64_t all) mutable {
    if (first < 0) first = done;
    const double seconds = seconds_since(start);
    std::optional<double> left;
    if (done > first && all > done && seconds > kTimeKnown)
      left = seconds * static_cast<double>(all - done) / static_cast<double>(done - first);
    advance(name, done, all, left);
  };
}

void Console::advance(const std::string& name, int64_t done, int64_t all, std::optional<double> seconds_left) {
  const bool over = all > 0 && done >= all;
  if (live_) {
    const bool shown = task_.has_value();
    task_ = over ? std::nullopt : std::optional(Task{name, done, all, seconds_left});
    if ((over && shown) || seconds_since(drawn_) > kRedraw) draw();
  } else if (!over && seconds_since(told_) > kTell) {
    say(fmt::format("{} {}{}{}", name, done, all > 0 ? fmt::format("/{}", all) : "",
                    seconds_left ? fmt::format(" · {} left", short_time(*seconds_left)) : ""));
    told_ = Clock::now();
  }
}

void Console::draw() {
  const int columns = terminal_->size().columns - 1;
  std::vector<std::string> lines;
  if (progress_) lines.push_back(run_bar(*progress_, columns, style_));
  if (task_)
    lines.push_back(task_bar("  " + task_->name, task_->done, task_->all, columns, style_, task_->seconds_left));
  if (lines.empty()) {
    live_->clear();
  } else {
    live_->show(std::move(lines));
  }
  drawn_ = Clock::now();
}

void Console::clear() {
  progress_.reset();
  task_.reset();
  if (live_) live_->clear();
}

Advance task_of(Console* console, const std::string& name) {
  return console != nullptr ? console->task(name) : [](int64_t, int64_t) {};
}

}  // namespace lmnet
