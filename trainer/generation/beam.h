#pragma once
#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include "trainer/engine.h"

namespace lmnet {

/// Beam search by the rules of the reference's lmn_beam.py (reference 2.8), for one prompt.
struct BeamOptions {
  int64_t beams = 10;
  int64_t max_new_tokens = 64;
  double length_penalty = 0.9;  // score = log-probability / length^penalty, the length with its end
  int64_t no_repeat_ngram = 4;  // no n-gram of new tokens comes twice; 0 = off
  std::set<int32_t> ends = {};  // tokens that end a beam
};

struct BeamResult {
  std::vector<int32_t> ids;  // of the best candidate: new tokens, with the end if it has one
  double logprob = 0;        // of these tokens, banned n-grams renormalised
  double score = 0;          // logprob / length^penalty
  /// By step and beam, after each step's choice and before finished beams leave: last token and log-probability. Fewer
  /// steps only where no beam is alive any more, fewer beams only where there are no more continuations.
  std::vector<std::vector<int32_t>> step_tokens;
  std::vector<std::vector<double>> step_scores;
};

/// All beams go on for max_new_tokens steps; one that ends becomes a candidate and leaves, and the next choice fills
/// its place from the others; those alive at the end are candidates too. Of equal continuations the earlier beam's
/// wins, then the lower id; of equal candidates the earlier one. Throws ConfigError for more beams than the vocabulary
/// has tokens, and what check_room() throws.
BeamResult search_beams(Engine& engine, std::span<const int32_t> prompt, const BeamOptions& options);

}  // namespace lmnet
