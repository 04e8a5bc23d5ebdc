#include "trainer/run/phases.h"

#include <fmt/format.h>

#include <cstdlib>

namespace lmnet {

Phases::Phases(Communicator& world, const ParallelConfig::Timeouts& timeouts)
    : world_(world), timeouts_(timeouts), faults_(std::getenv("LMNET_FAULT"), world.rank()) {}

void Phases::enter(Phase phase, int64_t update) {
  const auto begin = [&](std::string_view key, std::string name, double timeout) {
    name_ = std::move(name);
    update_ = update;
    since_ = Clock::now();
    world_.enter(name_, std::chrono::milliseconds(static_cast<int64_t>(timeout * 1000)));
    faults_.enter(key, update);
  };
  switch (phase) {
    case Phase::start:
      return begin("start", update == 0 ? "start-up" : fmt::format("start of the stage after update {}", update),
                   timeouts_.start);
    case Phase::step:
      return begin("step", fmt::format("update {}", update), timeouts_.step);
    case Phase::checkpoint:
      return begin("checkpoint", fmt::format("checkpoint of update {}", update), timeouts_.checkpoint);
    case Phase::evaluation:
      return begin("evaluation", fmt::format("evaluation at update {}", update), timeouts_.evaluation);
  }
}

std::string Phases::describe() const {
  return fmt::format("{}, for {:.1f} s", name_, seconds_since(since_));
}

}  // namespace lmnet
