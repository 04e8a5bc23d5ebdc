#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "model/attention.h"
#include "model/network.h"
#include "model/sequence.h"

namespace lmnet {

/// Where the tokens of a forward stand: the same for all its pieces.
struct TimeAxis {
  int64_t before = 0;                        // vectors of the prefix that stand before this forward's tokens
  int64_t length = 0;                        // `before` + T
  Steps steps;                               // of the edges and of vertices of the main backbone
  std::map<std::string, Steps> group_steps;  // of groups with a backbone of their own

  const Steps& steps_of(const std::string& group) const;
};

/// A prefix comes before the first position and shifts all slots behind it; the learned positions of the tokens
/// themselves are not shifted (reference 2.1, 2.8). `cache`: of the generation that the forward belongs to, or null.
TimeAxis time_axis(const Network& network, const Sequence& sequence, const Cache* cache);

}  // namespace lmnet
