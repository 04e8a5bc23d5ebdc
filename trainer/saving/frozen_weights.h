#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "trainer/checkpoint/checkpoint_reader.h"
#include "trainer/model_spec.h"
#include "trainer/optimizer.h"

namespace lmnet {

/// The reference to the copy of frozen weights that a run keeps beside its checkpoints.
inline constexpr const char* kFrozenCopy = "frozen";

/// Weights of which a folder or a copy has what a run began with: as long as they have never trained, checkpoints need
/// only tell where. References are named `backbone`, `backbone.GROUP` (Hugging Face folders) and `frozen` (the copy
/// that the run keeps beside its checkpoints).
struct FrozenWeights {
  std::map<std::string, std::string> reference_of;      // by parameter
  std::map<std::string, ManifestReference> references;  // by name; `frozen` only once there is a copy
  std::map<std::string, uint32_t> checksums;            // of parameters, as far as they are known
};

/// Of a network whose weights were just loaded (load_backbones(), load_parts()), as far as this rank holds it. `copy`:
/// nothing is to be looked for in Hugging Face folders (`checkpoint.frozen`). Weights out of a checkpoint, which its
/// run may remove, are copied in any case.
FrozenWeights frozen_weights(const ModelSpec& spec, const LoadConfig& load, const Optimizer& optimizer, bool copy);

/// Of a network that was just loaded from a checkpoint. `own`: it is one of the run's own, whose copy goes on serving.
FrozenWeights frozen_weights(const CheckpointReader& checkpoint, bool own, bool copy);

}  // namespace lmnet
