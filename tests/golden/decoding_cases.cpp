#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tests/golden/case_network.h"
#include "trainer/generation/beam.h"
#include "trainer/generation/decoder.h"
#include "trainer/generation/sampler.h"

/// Tokens that the network chooses itself, over its caches.
namespace lmnet::testing {
namespace {

/// Scores of beams, for which the cases give no tolerance; their choices are decided by margins of 1e-3 and more.
constexpr double kScoreTolerance = 1e-5;

std::vector<int32_t> ids_of(const at::Tensor& tokens) {
  const at::Tensor ids = tokens.to(at::kInt).contiguous();
  return {ids.const_data_ptr<int32_t>(), ids.const_data_ptr<int32_t>() + ids.numel()};
}

at::Tensor tensor_of(const std::vector<int32_t>& ids) {
  return at::tensor(ids, at::kInt).to(at::kLong);
}

}  // namespace

void run_greedy(const GoldenCase& golden, Findings& findings) {
  CaseNetwork network(golden, at::kFloat);
  const at::Tensor& prompt = golden.tensor("@in/input_ids");
  std::vector<std::vector<int32_t>> rows;
  for (int64_t row = 0; row < prompt.size(0); ++row) rows.push_back(ids_of(prompt[row]));
  const int64_t count = golden.about.at("new");
  Decoder decoder(network.engine(), rows, count);
  std::vector<at::Tensor> logits;
  for (int64_t step = 0; step < count; ++step) {
    logits.push_back(decoder.logits().clone());
    const at::Tensor all = logits.back().to(at::kDouble).contiguous();
    std::vector<int32_t> chosen;
    for (size_t row = 0; row < rows.size(); ++row) {
      const auto at = all[static_cast<int64_t>(row)];
      const std::span<const double> choices(at.const_data_ptr<double>(), static_cast<size_t>(at.numel()));
      chosen.push_back(choose_token(choices, rows[row], Sampling{}, 0).id);
      rows[row].push_back(chosen.back());
    }
    if (step + 1 < count) decoder.step(chosen);
  }
  std::vector<at::Tensor> sequences;
  for (const std::vector<int32_t>& row : rows) sequences.push_back(tensor_of(row));
  findings.output("sequences", at::stack(sequences), at::kFloat);
  findings.output("step_logits", at::stack(logits, 1), at::kFloat);
}

void run_beam(const GoldenCase& golden, Findings& findings) {
  CaseNetwork network(golden, at::kFloat);
  const nlohmann::json& about = golden.about;
  const int64_t length = about.at("eval_len");
  const std::vector<int32_t> ends = about.at("eos");
  const BeamOptions options{.beams = about.at("beam"),
                            .max_new_tokens = length,
                            .length_penalty = about.at("penalty"),
                            .no_repeat_ngram = about.at("ngram"),
                            .ends = {ends.begin(), ends.end()}};
  const std::vector<int32_t> query = ids_of(golden.tensor("@in/input_ids")[0].narrow(0, 0, about.at("query_len")));
  const BeamResult result = search_beams(network.engine(), query, options);

  const at::Tensor tokens = tensor_of(result.ids);
  findings.output("tokens", at::constant_pad_nd(tokens, {0, length - tokens.size(0)}), at::kFloat);
  // Where no beam is alive any more the reference goes on with impossible ones.
  const auto steps = static_cast<int64_t>(result.step_tokens.size());
  at::Tensor step_tokens = golden.tensor("@out/step_tokens").clone();
  at::Tensor step_scores = at::full_like(golden.tensor("@out/step_scores"), -HUGE_VAL);
  for (int64_t step = 0; step < std::min(steps, length); ++step) {
    step_tokens[step].copy_(tensor_of(result.step_tokens[step]));
    step_scores[step].copy_(at::tensor(result.step_scores[step], at::kDouble));
  }
  findings.output("step_tokens", step_tokens, at::kFloat);
  findings.compare_within("@out/step_scores", step_scores, kScoreTolerance);
  const double expected = about.at("best_score");
  if (!(std::abs(result.score - expected) <= kScoreTolerance * std::abs(expected)))
    findings.note(fmt::format("best score {} instead of {}", result.score, expected));
}

}  // namespace lmnet::testing
