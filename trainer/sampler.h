#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace lmnet {

/// How new tokens are chosen, as in Hugging Face: repetition penalty, temperature, the `top_k` most likely tokens, of
/// them the fewest that reach the probability `top_p`.
struct Sampling {
  int64_t max_new_tokens = 128;
  double temperature = 0;  // 0 = greedy: always the most likely token
  int64_t top_k = 0;       // 0 = all
  double top_p = 1;
  double repetition_penalty = 1;
  uint64_t seed = 1;
  std::vector<std::string> stop = {};  // texts at which a completion ends; they are cut off
  int samples = 1;                     // completions of each prompt
};

/// Throws ConfigError that names the option and what it takes.
void check(const Sampling& sampling);

/// A new token and its log-probability in the network's own distribution: before penalty, temperature and choice.
struct Choice {
  int32_t id = 0;
  double logprob = 0;
};

/// Chooses the token after `context`, whose ids the repetition penalty weakens. `draw` in [0, 1) decides which one
/// where the choice is not greedy. Of equally likely tokens the one with the lower id comes first.
Choice choose_token(std::span<const double> logits, std::span<const int32_t> context, const Sampling& sampling,
                    double draw);

/// The draw for step `step` of a prompt's sample: the same whatever else is generated beside it.
double draw_of(uint64_t seed, std::span<const int32_t> prompt, int sample, int64_t step);

}  // namespace lmnet
