#include "trainer/signals.h"

#include <fmt/format.h>

#include <csignal>
#include <map>

#include "model/graph/errors.h"

namespace lmnet {
namespace {

// A handler has no other way to tell: the one thing in LMNet that must be global.
volatile std::sig_atomic_t received_signal = 0;

extern "C" void take_signal(int signal) {
  received_signal = signal;
  std::signal(signal, SIG_DFL);
}

}  // namespace

StopSignals::StopSignals(const std::vector<std::string>& names) {
  const std::map<std::string, int> known = {{"TERM", SIGTERM}, {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"INT", SIGINT}};
  received_signal = 0;
  for (const std::string& name : names) {
    auto found = known.find(name);
    if (found == known.end())
      throw ConfigError(fmt::format("checkpoint.on_signal: {} is not one of TERM, USR1, USR2, INT", name));
    signals_.push_back(found->second);
  }
  for (int signal : signals_) std::signal(signal, take_signal);
}

StopSignals::~StopSignals() {
  for (int signal : signals_) std::signal(signal, SIG_DFL);
}

int StopSignals::received() const {
  return received_signal;
}

}  // namespace lmnet
