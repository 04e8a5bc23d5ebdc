#include "trainer/generation/beam.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "model/graph/errors.h"
#include "trainer/generation/decoder.h"
#include "trainer/generation/sampler.h"

namespace lmnet {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

struct Beam {
  std::vector<int32_t> ids;
  double logprob = 0;
};

/// A beam and the token that it goes on with.
struct Continuation {
  int64_t beam;
  int32_t id;
  double logprob;
};

/// The log-probabilities of what may follow a beam: the ban comes before the softmax, so that they are renormalised.
std::vector<double> log_probabilities(const double* logits, int64_t vocabulary, const Beam& beam, int64_t ngram) {
  std::vector<double> scores(logits, logits + vocabulary);
  for (const int32_t id : repeating_tokens(beam.ids, ngram)) scores[id] = kNever;
  const double total = log_sum(scores);
  if (total != kNever)
    for (double& score : scores) score -= total;
  return scores;
}

/// The best continuations of all beams, best first.
std::vector<Continuation> best_continuations(const std::vector<Beam>& beams, const at::Tensor& logits,
                                             const BeamOptions& options) {
  const at::Tensor wide = logits.to(at::kDouble).contiguous();
  const auto better = [](const Continuation& a, const Continuation& b) { return a.logprob > b.logprob; };
  std::vector<Continuation> best;
  for (size_t b = 0; b < beams.size(); ++b) {
    const auto scores = log_probabilities(wide.const_data_ptr<double>() + static_cast<int64_t>(b) * wide.size(1),
                                          wide.size(1), beams[b], options.no_repeat_ngram);
    for (size_t id = 0; id < scores.size(); ++id) {
      const Continuation next{static_cast<int64_t>(b), static_cast<int32_t>(id), beams[b].logprob + scores[id]};
      if (next.logprob == kNever) continue;
      const bool full = static_cast<int64_t>(best.size()) == options.beams;
      if (full && !better(next, best.back())) continue;
      if (full) best.pop_back();
      best.insert(std::ranges::upper_bound(best, next, better), next);
    }
  }
  return best;
}

class Search {
 public:
  Search(const BeamOptions& options, Decoder& decoder) : options_(options), decoder_(decoder) {}

  BeamResult run() {
    for (int64_t step = 0; step < options_.max_new_tokens && !beams_.empty(); ++step) {
      if (step > 0) feed();
      choose();
    }
    for (const Beam& beam : beams_) consider(beam);
    return std::move(result_);
  }

 private:
  void feed() {
    std::vector<int32_t> last;
    for (const Beam& beam : beams_) last.push_back(beam.ids.back());
    decoder_.step(last);
  }

  /// One choice; finished beams become candidates and leave.
  void choose() {
    std::vector<Beam> alive;
    std::vector<int64_t> parents;
    auto& tokens = result_.step_tokens.emplace_back();
    auto& scores = result_.step_scores.emplace_back();
    for (const Continuation& next : best_continuations(beams_, decoder_.logits(), options_)) {
      Beam beam{beams_[next.beam].ids, next.logprob};
      beam.ids.push_back(next.id);
      tokens.push_back(next.id);
      scores.push_back(next.logprob);
      if (options_.ends.contains(next.id)) {
        consider(beam);
      } else {
        alive.push_back(std::move(beam));
        parents.push_back(next.beam);
      }
    }
    beams_ = std::move(alive);
    if (!beams_.empty()) decoder_.select(parents);
  }

  void consider(const Beam& beam) {
    const double score = beam.logprob / std::pow(static_cast<double>(beam.ids.size()), options_.length_penalty);
    if (!result_.ids.empty() && !(score > result_.score)) return;
    result_.ids = beam.ids;
    result_.logprob = beam.logprob;
    result_.score = score;
  }

  const BeamOptions& options_;
  Decoder& decoder_;
  std::vector<Beam> beams_{1};
  BeamResult result_;
};

}  // namespace

BeamResult search_beams(Engine& engine, std::span<const int32_t> prompt, const BeamOptions& options) {
  const int64_t vocabulary = engine.network().backbone().vocabulary;
  if (options.beams < 1 || options.beams > vocabulary)
    throw ConfigError(
        fmt::format("--beam takes 1 to {}, the tokens of the vocabulary, not {}", vocabulary, options.beams));
  Decoder decoder(engine, {{prompt.begin(), prompt.end()}}, options.max_new_tokens);
  return Search(options, decoder).run();
}

}  // namespace lmnet
