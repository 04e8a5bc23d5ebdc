#include "model/time_axis.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <functional>

namespace lmnet {
namespace {

Steps with_positions(Steps steps, const BackboneConfig& backbone, int64_t length, const Sequence& sequence,
                     at::ScalarType dtype) {
  if (backbone.gpt2()) return steps;
  const auto options = sequence.tokens.options().dtype(at::kLong);
  at::Tensor positions = at::arange(length, options);
  const std::vector<int64_t>& start = steps.start;
  if (!start.empty()) {
    const bool equal = std::adjacent_find(start.begin(), start.end(), std::not_equal_to<>()) == start.end();
    positions = equal ? positions + start.front() : positions + at::tensor(start, options).unsqueeze(1);
  }
  steps.rotary = Rotary::tables(backbone, positions, dtype);
  return steps;
}

}  // namespace

const Steps& TimeAxis::steps_of(const std::string& group) const {
  const auto own = group_steps.find(group);
  return own == group_steps.end() ? steps : own->second;
}

TimeAxis time_axis(const Network& network, const Sequence& sequence, const Cache* cache) {
  const int64_t prefix = network.shape().prefix;
  TORCH_CHECK(sequence.start.empty() || std::ssize(sequence.start) == sequence.rows(), "a start for each row");
  const auto fresh = std::count(sequence.start.begin(), sequence.start.end(), 0);
  const bool begins = fresh == std::ssize(sequence.start);
  TORCH_CHECK(begins || prefix == 0 || fresh == 0, "with a prefix all rows of a batch begin together");
  TORCH_CHECK(sequence.documents.empty() || (std::ssize(sequence.documents) == sequence.rows() && cache == nullptr &&
                                             prefix == 0 && sequence.start.empty() && sequence.lengths.empty()),
              "documents for each row, which go with neither a cache nor a prefix nor padding");
  TimeAxis axis;
  axis.before = begins ? prefix : 0;
  axis.length = axis.before + sequence.length();
  Steps steps;
  if (cache != nullptr) {
    steps.capacity = prefix + cache->capacity();
    steps.start.assign(sequence.rows(), 0);
    if (!begins)
      for (size_t row = 0; row < steps.start.size(); ++row) steps.start[row] = prefix + sequence.start[row];
  }
  for (const int64_t length : sequence.lengths) steps.lengths.push_back(axis.before + length);
  axis.steps = with_positions(steps, network.backbone(), axis.length, sequence, network.dtype());
  for (const auto& [group, backbone] : network.shape().groups)
    axis.group_steps[group] = with_positions(steps, backbone, axis.length, sequence, network.dtype());
  return axis;
}

}  // namespace lmnet
