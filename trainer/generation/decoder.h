#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "model/cache.h"
#include "model/kernels/kernels.h"
#include "trainer/engine.h"

namespace lmnet {

/// Rows of token ids that grow by a token a step, over one cache. Rows of unlike length decode together, and each gives
/// bit for bit what it gives alone: prompts run one after the other, since a long product's rounding depends on its
/// size, and the kernels of a step treat every row alike. Needs the whole network (no vertex-parallel group).
class Decoder {
 public:
  /// Rows that decode together; the logits of more might depend on their number.
  static constexpr int64_t kMostRows = kFewRows;

  /// Runs the prompts (none empty, ids in the vocabulary), after each of which `room` tokens may follow. Throws what
  /// check_room() throws, and like step() CheckpointError for logits that are not finite.
  Decoder(Engine& engine, const std::vector<std::vector<int32_t>>& prompts, int64_t room);

  int64_t rows() const { return static_cast<int64_t>(length_.size()); }
  /// Logits of the token that follows each row: [R, V] in the network's element type.
  const at::Tensor& logits() const { return logits_; }
  /// Appends a token to each row: [R].
  void step(std::span<const int32_t> tokens);
  /// Row i becomes a copy of what was row rows[i], logits included: samples share a prompt, beams change places,
  /// finished rows leave.
  void select(const std::vector<int64_t>& rows);
  int64_t cache_bytes() const { return cache_.bytes(); }

 private:
  void read_out(const at::Tensor& hidden);

  Engine& engine_;
  std::vector<int64_t> length_;  // of each row, without prefix
  Cache cache_;
  at::Tensor logits_;
};

/// Throws ConfigError for a network that classifies.
void require_language_head(const NetworkShape& shape);

/// Throws what require_language_head() throws, and DataError where learned positions do not suffice for a prompt of
/// so many tokens and `room` new ones (the last of which is never read).
void check_room(const NetworkShape& shape, int64_t prompt, int64_t room);

}  // namespace lmnet
