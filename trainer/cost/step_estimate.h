#pragma once
#include "trainer/cost/device_spec.h"
#include "trainer/cost/model.h"

namespace lmnet {

/// What a step is expected to take on a device. Products run at the device's share of its peak, unless reading their
/// weights takes longer; all ranks wait for the fullest one at every level. What leaves a level travels over the slower
/// of the two kinds of links that it meets; with overlap one piece travels while the other one computes, and gradients
/// are reduced as soon as the backward pass is done with them, beside the exchanges. New values are gathered while the
/// next forward pass begins.
struct StepEstimate {
  double seconds = 0;    // of a step
  double compute = 0;    // of them, the fullest rank's products
  double update = 0;     // and the optimiser's
  double exchange = 0;   // messages on their way, hidden ones too
  double reduction = 0;  // gradients and new values on their way, hidden ones too
  double exposed = 0;    // exchange and reduction that nothing hides
  double tokens_per_s = 0;
  double speed_up = 0;  // over one such device that would hold all of the network
};

StepEstimate estimate_step(const ModelSpec& spec, const Plan& plan, const Trains& trains, const StepShape& step,
                           const StageCost& cost, const DeviceSpec& device);

}  // namespace lmnet
