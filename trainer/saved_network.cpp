#include "trainer/saved_network.h"

#include "parallel/thread_communicator.h"
#include "trainer/checkpointer.h"
#include "trainer/model_spec.h"

namespace lmnet {

SavedNetwork::SavedNetwork(const CheckpointReader& checkpoint)
    : alone_(std::move(make_thread_communicators(1).front())), mesh_(*alone_, 1) {
  const Config config = parse_config(checkpoint.config_yaml(), (checkpoint.folder() / "config.yaml").string());
  const ModelSpec spec = model_of_checkpoint(checkpoint);
  engine_ = std::make_unique<Engine>(spec.backbone, spec.graph, spec.dtype, config.train.optimizer, mesh_);
  load_checkpoint(checkpoint, engine_->optimizer(), /*moments=*/false);
  tokenizer_ = make_tokenizer(config.data.tokenizer == "auto" ? "bytes" : config.data.tokenizer);
  sequence_length_ = config.data.sequence_length;
}

}  // namespace lmnet
