#pragma once
#include <c10/core/ScalarType.h>

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "model/safetensors.h"
#include "trainer/hugging_face/end_tokens.h"
#include "trainer/model_spec.h"

namespace lmnet {

/// The network is a backbone alone, which Hugging Face has a class for: one vertex, no edge, prefix or classes.
bool is_plain(const ModelSpec& spec);

/// The `config.json` of a plain network.
std::string plain_config_json(const BackboneConfig& backbone, at::ScalarType dtype, const EndTokens& tokens);

/// The `config.json` of any network: for the modelling code (trainer/hugging_face) its backbones, vertices and edges by
/// number; under `model` the section of our config that it was built from, without paths. `config` and `spec` are of
/// one checkpoint.
std::string network_config_json(const Config& config, const ModelSpec& spec, at::ScalarType dtype,
                                const EndTokens& tokens);

/// Whether a `config.json` is of a network, not of a backbone.
bool is_network_config(const std::string& json);

/// The config in what network_config_json() wrote. Throws WeightsError or ConfigError that begins with `where`.
Config read_network_config(const std::string& json, const std::string& where);

/// Every parameter of a network, whole.
struct ParameterShape {
  std::string name;  // canonical
  Parameter::Part part;
  std::vector<int64_t> shape;
};
std::vector<ParameterShape> parameter_shapes(const NetworkShape& shape, const Graph& graph);

/// Throws WeightsError unless the files of `folder` hold every parameter of the network with its shape, and no other.
void check_network_weights(const SafetensorsFolder& files, const std::filesystem::path& folder, const ModelSpec& spec);

/// The backbones of single vertex groups by name, each as its `config.json`.
nlohmann::ordered_json group_backbones(const NetworkShape& shape);

}  // namespace lmnet
