#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "model/graph/errors.h"
#include "tests/samples.h"
#include "trainer/config/config.h"

namespace lmnet::testing {

/// A config with everything that training needs; its lines are counted in the tests of errors.
inline const std::string small_config = R"(run: {name: small, seed: 3}
model:
  backbone: {model_type: qwen2, hidden_size: 8, rms_norm_eps: 1e-6, tie_word_embeddings: true}
  topology: 1-2-1
data:
  sequence_length: 16
  train:
    - {path: a.jsonl, format: c4}
train:
  global_batch: 8
  micro_batch: 4
  stages:
    - {trains: [edges], until: 10u, lr: 1e-3}
)";

inline Config parse(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
  return parse_config(yaml, "x.yaml", overrides);
}

inline Config small(const std::vector<std::string>& overrides = {}) {
  return parse(small_config, overrides);
}

/// The sentence that a call fails with.
template <class Call>
std::string error_of(const Call& call) {
  try {
    call();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no ConfigError";
}

inline std::string parse_error(const std::string& yaml) {
  return error_of([&] { parse(yaml); });
}

/// The error of one override of the small config, without the `argument "…": ` that each must begin with.
inline std::string override_error(const std::string& argument) {
  const std::string error = error_of([&] { small({argument}); });
  const std::string start = "argument \"" + argument + "\": ";
  return error.starts_with(start) ? error.substr(start.size()) : "not about the argument: " + error;
}

inline std::filesystem::path configs_folder() {
  return test::repository() / "configs";
}

/// A config as to_yaml() keeps it: places do not count.
inline Config without_places(Config config) {
  config.where.clear();
  config.model.where.clear();
  for (auto* sources : {&config.data.train, &config.data.validation}) {
    for (SourceConfig& source : *sources) source.where.clear();
  }
  return config;
}

}  // namespace lmnet::testing
