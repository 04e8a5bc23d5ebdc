#include "parallel/errors.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <ctime>

namespace lmnet {

std::string no_answer(std::span<const std::string> silent, std::chrono::duration<double> waited) {
  using Clock = std::chrono::system_clock;
  const std::time_t since = Clock::to_time_t(Clock::now() - std::chrono::duration_cast<Clock::duration>(waited));
  return fmt::format(
      "no answer for {:.3g} s (since {:%H:%M:%S}) from {}; look at what they report, or give parallel.timeout more if "
      "they are slow.",
      waited.count(), fmt::localtime(since),
      silent.empty() ? "this rank's own device" : fmt::format("{}", fmt::join(silent, ", ")));
}

}  // namespace lmnet
