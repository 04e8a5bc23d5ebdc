#pragma once
#include <filesystem>
#include <memory>

#include "data/tokenizer.h"
#include "parallel/communicator.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/engine.h"

namespace lmnet {

/// A checkpoint's network, whole on this rank alone, whatever the layout that it was trained with.
class SavedNetwork {
 public:
  /// Reads the weights, checking their CRCs. Throws CheckpointError.
  explicit SavedNetwork(const CheckpointReader& checkpoint);

  Engine& engine() { return *engine_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  /// Of the data it was trained on; 0 when its config does not say.
  int64_t sequence_length() const { return sequence_length_; }

 private:
  std::unique_ptr<Communicator> alone_;
  Mesh mesh_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Tokenizer> tokenizer_;
  int64_t sequence_length_;
};

}  // namespace lmnet
