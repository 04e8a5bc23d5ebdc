#pragma once
#include <filesystem>
#include <memory>
#include <set>

#include "data/tokenizer.h"
#include "parallel/communicator.h"
#include "trainer/checkpoint/checkpoint_reader.h"
#include "trainer/engine.h"

namespace lmnet {

/// A checkpoint's network, whole on this rank alone, whatever the layout that it was trained with.
class SavedNetwork {
 public:
  /// Reads the weights, checking their CRCs. Throws CheckpointError.
  explicit SavedNetwork(const CheckpointReader& checkpoint);
  /// The same of a checkpoint or a run, or the network `1` of a Hugging Face folder, in bf16. Throws CheckpointError,
  /// ConfigError and WeightsError.
  explicit SavedNetwork(const std::filesystem::path& path);

  Engine& engine() { return *engine_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  /// The tokens that end a text (trainer/hugging_face/end_tokens.h).
  const std::set<int32_t>& ends() const { return ends_; }
  /// Of the data it was trained on; where that is not known, what its backbone takes, at most 1024.
  int64_t sequence_length() const { return sequence_length_; }

 private:
  SavedNetwork();
  void open_checkpoint(const CheckpointReader& checkpoint);
  void open_backbone(const std::filesystem::path& folder);

  std::unique_ptr<Communicator> alone_;
  Mesh mesh_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::set<int32_t> ends_;
  int64_t sequence_length_ = 0;
};

}  // namespace lmnet
