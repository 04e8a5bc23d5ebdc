#include "trainer/run/step_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "trainer/describe.h"

namespace lmnet {
namespace {

using Json = nlohmann::ordered_json;

/// `2.9e-4`, not 2.9e-04.
std::string short_rate(double rate) {
  std::string text = fmt::format("{:.1e}", rate);
  size_t e = text.find("e-0");
  return e == std::string::npos ? text : text.erase(e + 2, 1);
}

}  // namespace

std::string StepReport::line(const RunState& state) const {
  double highest = 0;
  for (const auto& [part, rate] : lr) highest = std::max(highest, rate);
  const double waiting = 100 * data_wait / seconds;
  return fmt::format(
      "update {}/{} · {} · loss {:.4f} · norm {:.3g} · lr {} · {:.2f} s · {} tok/s · {:.2f} GiB{} · {} left",
      state.run.updates, all_updates, short_count(static_cast<double>(state.run.tokens), "t"), result.loss,
      result.grad_norm, short_rate(highest), seconds, short_count(static_cast<double>(tokens_per_update) / seconds),
      memory_gib, waiting < 1 ? "" : fmt::format(" · {:.0f}% waiting for data", waiting),
      short_time(progress(state).seconds_left));
}

RunProgress StepReport::progress(const RunState& state) const {
  return {state.run.updates, all_updates, result.loss, static_cast<double>(tokens_per_update) / pace,
          pace * static_cast<double>(all_updates - state.run.updates)};
}

Json StepReport::metrics(const RunState& state) const {
  Json rates;
  bool equal = std::all_of(lr.begin(), lr.end(), [&](const auto& rate) { return rate.second == lr.begin()->second; });
  if (equal && !lr.empty())
    rates = lr.begin()->second;
  else
    for (const auto& [part, rate] : lr) rates[std::string(to_string(part))] = rate;
  return {{"update", state.run.updates},
          {"tokens", state.run.tokens},
          {"loss", result.loss},
          {"grad_norm", result.grad_norm},
          {"lr", rates},
          {"seconds", seconds},
          {"tokens_per_s", static_cast<double>(tokens_per_update) / seconds},
          {"peak_share", nullptr},  // the peak of a CPU is not known
          {"data_wait", data_wait},
          {"exchange_wait", result.exchange_seconds},
          {"checkpoint_wait", checkpoint_wait},
          {"memory_gib", memory_gib},
          {"batch_hash", fmt::format("{:016x}", batch_hash)},
          {"skipped", skipped},
          {"restart", state.restart},
          {"time", std::time(nullptr)}};
}

}  // namespace lmnet
