#include "trainer/update_guard.h"

#include <fmt/format.h>

#include <cmath>
#include <numeric>

namespace lmnet {

UpdateGuard::Verdict UpdateGuard::judge(double loss, double norm) {
  const bool finite = std::isfinite(loss) && std::isfinite(norm);
  reason_ = what_is_wrong(loss, norm);
  if (finite) {
    for (auto [window, value] : {std::pair(&losses_, loss), std::pair(&norms_, norm)}) {
      window->push_back(value);
      if (window->size() > static_cast<size_t>(config_.spike.window)) window->erase(window->begin());
    }
  }
  const std::string& rule = finite ? config_.on_spike : config_.on_nan;
  if (reason_.empty() || rule == "none") {
    in_a_row_ = 0;
    return Verdict::make;
  }
  if (rule == "stop") return Verdict::stop;
  ++skipped_;
  if (++in_a_row_ <= config_.skip_limit) return Verdict::skip;
  reason_ += fmt::format("; it is the {}. update in a row that would be skipped", in_a_row_);
  return Verdict::stop;
}

void UpdateGuard::begin_stage() {
  losses_.clear();
  norms_.clear();
}

nlohmann::json UpdateGuard::state() const {
  return {{"losses", losses_}, {"norms", norms_}, {"skipped", skipped_}, {"in_a_row", in_a_row_}};
}

void UpdateGuard::restore(const nlohmann::json& state) {
  losses_ = state.at("losses").get<std::vector<double>>();
  norms_ = state.at("norms").get<std::vector<double>>();
  skipped_ = state.at("skipped");
  in_a_row_ = state.at("in_a_row");
}

std::string UpdateGuard::what_is_wrong(double loss, double norm) const {
  if (!std::isfinite(loss) || !std::isfinite(norm))
    return fmt::format("loss {} and gradient norm {} are not finite", loss, norm);
  const std::string of_loss = spike("loss", losses_, loss);
  return of_loss.empty() ? spike("gradient norm", norms_, norm) : of_loss;
}

std::string UpdateGuard::spike(const char* name, const std::vector<double>& window, double value) const {
  const size_t count = window.size();
  if (count < 2 || 2 * count < static_cast<size_t>(config_.spike.window)) return "";
  const double mean = std::accumulate(window.begin(), window.end(), 0.0) / static_cast<double>(count);
  double squares = 0;
  for (const double one : window) squares += (one - mean) * (one - mean);
  const double deviation = std::sqrt(squares / static_cast<double>(count - 1));
  if (deviation == 0 || value - mean <= config_.spike.sigma * deviation) return "";
  return fmt::format("{} {:.4g} lies {:.1f} standard deviations above the {:.4g} of the last {} updates", name, value,
                     (value - mean) / deviation, mean, count);
}

}  // namespace lmnet
