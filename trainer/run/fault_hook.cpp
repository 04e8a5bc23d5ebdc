#include "trainer/run/fault_hook.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <utility>

#include "model/graph/errors.h"

namespace lmnet {

FaultHook::FaultHook(const char* variable, int rank) {
  if (variable == nullptr) return;
  Fault fault;
  std::istringstream words(variable);
  for (std::string word; words >> word;) {
    const size_t equals = std::min(word.find('='), word.size() - 1);
    const std::string key = word.substr(0, equals), value = word.substr(equals + 1);
    if (key == "phase") {
      fault.phase = value;
    } else if (key == "action" && (value == "throw" || value == "sleep" || value == "kill")) {
      fault.action = value;
    } else if (key == "rank") {
      fault.rank = std::atoi(value.c_str());
    } else if (key == "update") {
      fault.update = std::atoi(value.c_str());
    } else if (key == "seconds") {
      fault.seconds = std::atoi(value.c_str());
    } else {
      throw ConfigError(fmt::format("LMNET_FAULT: \"{}\" is not understood; unset the variable", word));
    }
  }
  if (fault.rank == rank) fault_ = std::move(fault);
}

void FaultHook::enter(std::string_view phase, int64_t update) {
  if (!fault_ || fault_->phase != phase || update < fault_->update) return;
  const Fault fault = *std::exchange(fault_, std::nullopt);
  const std::string where = fmt::format("rank {} in phase {}, update {}", fault.rank, fault.phase, update);
  if (fault.action == "throw") throw std::runtime_error("LMNET_FAULT: thrown on " + where);
  if (fault.action == "kill") std::raise(SIGKILL);
  fmt::print(stderr, "LMNET_FAULT: {} sleeps\n", where);
  std::fflush(stderr);
  std::this_thread::sleep_for(std::chrono::seconds(fault.seconds));
}

}  // namespace lmnet
