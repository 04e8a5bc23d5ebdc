#pragma once
#include <string>

#include "parallel/thread_communicator.h"
#include "tests/trainer/checkpoint/helpers.h"
#include "trainer/model_spec.h"
#include "trainer/saving/checkpointer.h"
#include "trainer/saving/saved_network.h"

namespace lmnet::testing {

inline const std::string tiny_config = R"(run: {name: tiny, seed: 3}
model:
  backbone: {model_type: qwen2, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2, num_attention_heads: 2,
             num_key_value_heads: 1, vocab_size: 258, tie_word_embeddings: true}
  topology: 1-2-1
  precision: fp32
data: {sequence_length: 12}
train:
  global_batch: 2
  micro_batch: 1
  stages:
    - {name: edges, trains: [edges], until: 10u, lr: 1e-3}
    - {name: all, trains: [edges, vertices, embeddings], until: 10u, lr: 1e-3}
)";

/// The config with another text in place of `from`.
inline std::string tiny_config_with(const std::string& from, const std::string& to) {
  std::string config = tiny_config;
  return config.replace(config.find(from), from.size(), to);
}

/// Saves a network with large random weights, so that its texts look wild, under `dir`; returns the checkpoint.
inline std::filesystem::path save_tiny_network(const std::filesystem::path& dir, int64_t update = 7,
                                               const std::string& config_yaml = tiny_config) {
  const auto alone = make_thread_communicators(1);
  Mesh mesh(*alone.front(), 1);
  const Config config = parse_config(config_yaml, "tiny.yaml");
  const ModelSpec spec = resolve_model(config.model);
  Engine engine(spec.shape, spec.graph, spec.dtype, {}, mesh);
  engine.initialize(config.run.seed);
  Optimizer& optimizer = engine.optimizer();
  for (const std::string& name : optimizer.names())
    if (optimizer.parameter(name).initial.drawn()) optimizer.assign(name, optimizer.state(name).value * 20);
  RunState state;
  state.run = {update, update * 24};
  return save_checkpoint(dir, engine, state, {}, config_yaml, "edges");
}

/// Such a checkpoint and its network.
struct TinyNetwork {
  TemporaryFolder folder;
  std::filesystem::path checkpoint = save_tiny_network(folder.path() / "checkpoints");
  SavedNetwork network{CheckpointReader(checkpoint)};
};

}  // namespace lmnet::testing
