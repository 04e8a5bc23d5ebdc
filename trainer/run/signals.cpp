#include "trainer/run/signals.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <ctime>
#include <utility>

#include "model/graph/errors.h"

namespace lmnet {
namespace {

// A handler has no other way to tell: the things in LMNet that must be global.
volatile std::sig_atomic_t received_signal = 0;
const char* interrupt_text = nullptr;
timespec received_at{};

/// Launchers pass signals on in several ways: what comes so soon after the first is the same wish.
constexpr double kOneWish = 1;

void print(const char* text) {
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text, std::strlen(text));
}

extern "C" void take_signal(int signal) {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  if (received_signal == 0) {
    received_at = now;
    received_signal = signal;
    if (signal != SIGINT || interrupt_text == nullptr) return;
    const bool seen = isatty(STDERR_FILENO) != 0;
    print(seen ? "\r\x1b[K" : "");  // in place of ^C and a bar
    print(interrupt_text);
    print(seen ? "\n" : "");  // two bars are drawn anew from the line above on
    return;
  }
  const double since = static_cast<double>(now.tv_sec - received_at.tv_sec) +
                       static_cast<double>(now.tv_nsec - received_at.tv_nsec) * 1e-9;
  if (since < kOneWish) return;
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

using Named = std::pair<const char*, int>;
constexpr std::array<Named, 4> kKnown = {{{"TERM", SIGTERM}, {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"INT", SIGINT}}};

int number_of(const std::string& name) {
  const auto found = std::ranges::find_if(kKnown, [&](const Named& known) { return name == known.first; });
  if (found == kKnown.end())
    throw ConfigError(fmt::format("checkpoint.on_signal: {} is not one of TERM, USR1, USR2, INT", name));
  return found->second;
}

}  // namespace

StopSignals::StopSignals(const std::vector<std::string>& names, const char* on_interrupt) {
  received_signal = 0;
  interrupt_text = on_interrupt;
  take(names);
}

void StopSignals::take(const std::vector<std::string>& names) {
  std::vector<int> signals;
  for (const std::string& name : names) signals.push_back(number_of(name));
  const auto among = [](int signal, const std::vector<int>& some) {
    return std::ranges::find(some, signal) != some.end();
  };
  const std::vector<int> before = std::exchange(signals_, signals);
  for (int signal : before) {
    if (among(signal, signals)) continue;
    std::signal(signal, SIG_DFL);
    if (received_signal == signal) std::raise(signal);
  }
  for (int signal : signals)
    if (!among(signal, before)) std::signal(signal, take_signal);
}

StopSignals::~StopSignals() {
  for (int signal : signals_) std::signal(signal, SIG_DFL);
}

int StopSignals::received() const {
  return received_signal;
}

const char* StopSignals::name(int signal) {
  const auto found = std::ranges::find(kKnown, signal, &Named::second);
  return found == kKnown.end() ? "unknown" : found->first;
}

}  // namespace lmnet
