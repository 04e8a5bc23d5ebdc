#pragma once
#include <cstdint>
#include <set>
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
  int64_t no_repeat_ngram = 0;  // no n-gram of new tokens comes twice (the prompt's do not count); 0 = off
  uint64_t seed = 1;
  std::vector<std::string> stop = {};  // texts at which a completion ends; they are cut off
  int samples = 1;                     // completions of each prompt
  int64_t beams = 0;                   // beam search of so many (trainer/generation/beam.h); 0 = off
  double length_penalty = 1;           // of beam search: log-probability / length^penalty decides
};

/// Throws ConfigError that names the option and what it takes.
void check(const Sampling& sampling);

/// A new token and its log-probability in the network's own distribution: before penalty, temperature and choice.
struct Choice {
  int32_t id = 0;
  double logprob = 0;
};

/// Chooses the token after `context`, whose ids the repetition penalty weakens, among all but the `banned` ones (among
/// all where they are all banned). `draw` in [0, 1) decides which one where the choice is not greedy. Of equally likely
/// tokens the one with the lower id comes first.
Choice choose_token(std::span<const double> logits, std::span<const int32_t> context, const Sampling& sampling,
                    double draw, const std::set<int32_t>& banned = {});

/// The tokens that would make the last of these tokens an n-gram that is already among them; none for n = 0.
std::set<int32_t> repeating_tokens(std::span<const int32_t> tokens, int64_t n);

/// log Σ exp; -∞ where all are.
double log_sum(std::span<const double> logits);

/// The draw for step `step` of a prompt's sample: the same whatever else is generated beside it.
double draw_of(uint64_t seed, std::span<const int32_t> prompt, int sample, int64_t step);

}  // namespace lmnet
