#include "trainer/saving/saved_network.h"

#include <algorithm>

#include "parallel/thread_communicator.h"
#include "trainer/hugging_face/end_tokens.h"
#include "trainer/model_spec.h"
#include "trainer/saving/load_checkpoint.h"
#include "trainer/tokenizer_files.h"

namespace lmnet {

namespace fs = std::filesystem;

namespace {

constexpr int64_t kUsualLength = 1024;

int64_t usual_length(const NetworkShape& shape) {
  return std::min(shape.longest().value_or(kUsualLength), kUsualLength);
}

}  // namespace

SavedNetwork::SavedNetwork() : alone_(std::move(make_thread_communicators(1).front())), mesh_(*alone_, 1) {}

SavedNetwork::SavedNetwork(const CheckpointReader& checkpoint) : SavedNetwork() {
  open_checkpoint(checkpoint);
}

SavedNetwork::SavedNetwork(const fs::path& path) : SavedNetwork() {
  if (!find_checkpoint(path) && fs::exists(path / "config.json"))
    open_backbone(path);
  else
    open_checkpoint(CheckpointReader(require_checkpoint(path)));
}

void SavedNetwork::open_checkpoint(const CheckpointReader& checkpoint) {
  const Config config = config_of_checkpoint(checkpoint);
  const ModelSpec spec = model_of_checkpoint(checkpoint);
  engine_ = std::make_unique<Engine>(spec.shape, spec.graph, spec.dtype, config.train.optimizer, mesh_);
  load_checkpoint(checkpoint, engine_->optimizer(), /*moments=*/false);
  tokenizer_ = make_tokenizer(tokenizer_name(checkpoint.folder(), config.data));
  const EndTokens tokens = end_tokens(checkpoint, config.data, *tokenizer_, spec.shape.backbone.vocabulary);
  ends_.insert(tokens.ends.begin(), tokens.ends.end());
  sequence_length_ = config.data.sequence_length > 0 ? config.data.sequence_length : usual_length(spec.shape);
}

void SavedNetwork::open_backbone(const fs::path& folder) {
  ModelConfig model;
  model.backbone = folder.string();
  model.where = folder.string();
  const ModelSpec spec = resolve_model(model);
  engine_ = std::make_unique<Engine>(spec.shape, spec.graph, spec.dtype, OptimizerConfig{}, mesh_);
  load_backbones(engine_->optimizer(), spec);
  tokenizer_ = make_tokenizer(tokenizer_name(DataConfig{}, spec));
  const Tokenizer* own = has_tokenizer(folder) ? tokenizer_.get() : nullptr;
  const EndTokens tokens = end_tokens(folder, own, spec.shape.backbone.vocabulary);
  ends_.insert(tokens.ends.begin(), tokens.ends.end());
  sequence_length_ = usual_length(spec.shape);
}

}  // namespace lmnet
