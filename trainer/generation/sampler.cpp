#include "trainer/generation/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "data/shuffle.h"
#include "model/graph/errors.h"

namespace lmnet {
namespace {

/// Seen tokens become less likely, whatever the sign of their logit.
void penalise(std::vector<double>& logits, std::span<const int32_t> context, double penalty) {
  if (penalty == 1) return;
  for (const int32_t id : std::set<int32_t>(context.begin(), context.end()))
    logits[id] = logits[id] < 0 ? logits[id] * penalty : logits[id] / penalty;
}

/// The ids that may be drawn, most likely first, and their weights.
struct Candidates {
  std::vector<int32_t> ids;
  std::vector<double> weights;
};

Candidates candidates(std::span<const double> logits, const Sampling& sampling) {
  Candidates all;
  all.ids.resize(logits.size());
  std::iota(all.ids.begin(), all.ids.end(), 0);
  std::ranges::stable_sort(all.ids, [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  if (sampling.top_k > 0 && sampling.top_k < static_cast<int64_t>(all.ids.size())) all.ids.resize(sampling.top_k);
  double sum = 0;
  for (const int32_t id : all.ids)
    sum += all.weights.emplace_back(std::exp((logits[id] - logits[all.ids.front()]) / sampling.temperature));
  double before = 0;  // weight of the more likely ones
  size_t kept = 0;
  while (kept < all.ids.size() && (kept == 0 || before < sampling.top_p * sum)) before += all.weights[kept++];
  all.ids.resize(kept);
  all.weights.resize(kept);
  return all;
}

}  // namespace

void check(const Sampling& s) {
  const auto require = [](bool holds, const char* option, const char* allowed, auto value) {
    if (!holds) throw ConfigError(fmt::format("--{} takes {}, not {}", option, allowed, value));
  };
  require(s.max_new_tokens >= 1, "max-new-tokens", "a whole number from 1 on", s.max_new_tokens);
  require(s.temperature >= 0 && std::isfinite(s.temperature), "temperature", "a number from 0 (greedy) on",
          s.temperature);
  require(s.top_k >= 0, "top-k", "a whole number from 0 (all) on", s.top_k);
  require(s.top_p > 0 && s.top_p <= 1, "top-p", "a number above 0, up to 1", s.top_p);
  require(s.repetition_penalty > 0 && std::isfinite(s.repetition_penalty), "repetition-penalty", "a number above 0",
          s.repetition_penalty);
  require(s.no_repeat_ngram >= 0, "no-repeat-ngram", "a whole number from 0 (off) on", s.no_repeat_ngram);
  require(s.samples >= 1, "samples", "a whole number from 1 on", s.samples);
  for (const std::string& stop : s.stop) require(!stop.empty(), "stop", "a text", "\"\"");
  require(s.beams >= 0, "beam", "a whole number from 0 (off) on", s.beams);
  require(std::isfinite(s.length_penalty), "length-penalty", "a number", s.length_penalty);
  if (s.beams > 0 && (s.temperature != 0 || s.samples != 1 || s.repetition_penalty != 1))
    throw ConfigError(
        "--beam finds the likeliest text: it goes without --temperature, --samples, --repetition-penalty");
}

Choice choose_token(std::span<const double> logits, std::span<const int32_t> context, const Sampling& sampling,
                    double draw, const std::set<int32_t>& banned) {
  std::vector<double> scores(logits.begin(), logits.end());
  penalise(scores, context, sampling.repetition_penalty);
  if (banned.size() < scores.size())
    for (const int32_t id : banned) scores[id] = -std::numeric_limits<double>::infinity();
  int32_t chosen = 0;
  if (sampling.temperature == 0) {
    chosen = static_cast<int32_t>(std::ranges::max_element(scores) - scores.begin());
  } else {
    const Candidates some = candidates(scores, sampling);
    double left = draw * std::accumulate(some.weights.begin(), some.weights.end(), 0.0);
    size_t i = 0;
    while (i + 1 < some.ids.size() && left >= some.weights[i]) left -= some.weights[i++];
    chosen = some.ids[i];
  }
  return {chosen, logits[chosen] - log_sum(logits)};
}

std::set<int32_t> repeating_tokens(std::span<const int32_t> tokens, int64_t n) {
  std::set<int32_t> repeating;
  const auto length = static_cast<int64_t>(tokens.size());
  if (n == 0 || length < n) return repeating;
  const auto last = tokens.last(n - 1);
  for (int64_t begin = 0; begin + n <= length; ++begin)
    if (std::ranges::equal(tokens.subspan(begin, n - 1), last)) repeating.insert(tokens[begin + n - 1]);
  return repeating;
}

double log_sum(std::span<const double> logits) {
  const double highest = *std::ranges::max_element(logits);
  if (highest == -std::numeric_limits<double>::infinity()) return highest;
  double sum = 0;
  for (const double logit : logits) sum += std::exp(logit - highest);
  return highest + std::log(sum);
}

double draw_of(uint64_t seed, std::span<const int32_t> prompt, int sample, int64_t step) {
  uint64_t hash = hash_of({seed, static_cast<uint64_t>(sample), static_cast<uint64_t>(step)});
  for (const int32_t id : prompt) hash = hash_step(hash, static_cast<uint64_t>(id));
  return static_cast<double>(hash >> 11) * 0x1p-53;
}

}  // namespace lmnet
