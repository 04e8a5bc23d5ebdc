#pragma once
#include <filesystem>
#include <string>

#include "model/safetensors.h"
#include "trainer/hugging_face/import.h"
#include "trainer/hugging_face/network_config.h"
#include "trainer/hugging_face/reference_names.h"
#include "trainer/model_spec.h"

namespace lmnet {

/// The weights of a checkpoint of the official implementation, checked against the network that it is said to be.
class ReferenceWeights {
 public:
  /// `options.preset` is that of its class, but for a copy of the weights for each vertex, which the tensors' names
  /// tell. Length of the prefix and number of classes are read from the tensors too. Every tensor must have its place;
  /// left unread are buffers, embeddings of later vertices, vertices and edges that lead nowhere, and LoRA matrices
  /// whose product is zero. Throws ConfigError and WeightsError.
  ReferenceWeights(const std::filesystem::path& folder, const ImportOptions& options);

  const Config& config() const { return config_; }
  /// Our parameter of that canonical name and shape, a view of the file.
  at::Tensor read(const ParameterShape& parameter) const;

 private:
  std::string model_section(const ImportOptions& options) const;
  void check_names() const;
  void check_rest() const;
  bool carries_nothing(const std::string& name) const;

  std::filesystem::path folder_;
  SafetensorsFolder files_;
  ReferenceClass class_;
  Config config_;
  ModelSpec spec_;
};

}  // namespace lmnet
