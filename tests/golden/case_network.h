#pragma once
#include <memory>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "parallel/mesh.h"
#include "tests/golden/case.h"
#include "trainer/config/config.h"
#include "trainer/engine.h"
#include "trainer/model_spec.h"

namespace lmnet::testing {

/// The network of a case, built as a user would: a config with the preset of the reference's class, and in it only what
/// the case chooses (backbone, topology, prefix, precision, options of the optimiser). Holds the case's weights.
class CaseNetwork {
 public:
  CaseNetwork(const GoldenCase& golden, at::ScalarType precision);

  Engine& engine() { return *engine_; }
  const TrainConfig& train() const { return config_.train; }
  const NetworkShape& shape() const { return spec_.shape; }
  /// Where the reference keeps our parameter.
  ReferenceTensor place(const std::string& ours) const;

  /// Logits of [B, T] tokens: [B, T, V].
  at::Tensor logits(const Sequence& batch);
  /// One update without clipping, all groups at the case's learning rate.
  UpdateResult update(const Sequence& batch, const LossRule& rule);
  /// Compares what trains with the tensors `@grad/…`, or the weights themselves with `@step/…`.
  void compare_gradients(Findings& findings) const;
  void compare_weights(Findings& findings) const;

 private:
  void compare_trained(const std::string& group, Findings& findings) const;

  const GoldenCase& golden_;
  ReferenceClass class_;
  Config config_;
  ModelSpec spec_;
  std::unique_ptr<Communicator> alone_;
  std::unique_ptr<Mesh> mesh_;
  std::unique_ptr<Engine> engine_;
};

/// All tokens of `@in/input_ids`; the padding of `@in/attention_mask` is unseen. Without targets.
Sequence tokens_of(const GoldenCase& golden);

}  // namespace lmnet::testing
