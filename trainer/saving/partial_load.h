#pragma once
#include <string>
#include <vector>

#include "trainer/config/config.h"
#include "trainer/model_spec.h"
#include "trainer/optimizer.h"

namespace lmnet {

/// Sets the parameters held here that `model.load` takes out of checkpoints, by their names, whatever the layout and
/// topology there; the optimiser starts anew. The weights of a vertex are those that the vertex of its name had there,
/// or those that all vertices had there; so shared weights may go to vertices with weights of their own. Returns what
/// people should hear of it. Throws ConfigError for what does not fit, with the option that allows it, and
/// CheckpointError.
std::vector<std::string> load_parts(const ModelConfig& model, const ModelSpec& spec, const std::string& tokenizer_hash,
                                    Optimizer& optimizer);

/// Whether load_parts() sets the parameters of a part.
bool loads(const LoadConfig& load, Parameter::Part part);

}  // namespace lmnet
