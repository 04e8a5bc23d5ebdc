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
  std::istringstream texts(variable == nullptr ? "" : variable);
  for (std::string text; std::getline(texts, text, ';');)
    if (Fault fault = parse(text); fault.rank == rank) faults_.push_back(std::move(fault));
}

FaultHook::Fault FaultHook::parse(const std::string& text) {
  Fault fault;
  std::istringstream words(text);
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
  return fault;
}

void FaultHook::enter(std::string_view phase, int64_t update) {
  const auto due =
      std::ranges::find_if(faults_, [&](const Fault& fault) { return fault.phase == phase && update >= fault.update; });
  if (due == faults_.end()) return;
  const Fault fault = std::move(*due);
  faults_.erase(due);
  const std::string where = fmt::format("rank {} in phase {}, update {}", fault.rank, fault.phase, update);
  if (fault.action == "throw") throw std::runtime_error("LMNET_FAULT: thrown on " + where);
  if (fault.action == "kill") std::raise(SIGKILL);
  fmt::print(stderr, "LMNET_FAULT: {} sleeps\n", where);
  std::fflush(stderr);
  std::this_thread::sleep_for(std::chrono::seconds(fault.seconds));
}

}  // namespace lmnet
