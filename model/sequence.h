#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "model/graph/layout.h"

namespace lmnet {

/// Where the documents of each row begin: 0, then ascending positions.
using DocumentStarts = std::vector<std::vector<int64_t>>;

/// A batch of B token sequences on its way through the network, so that packing, padding and caches never change a
/// signature. Attention is causal over the whole row, or over each of its documents; positions count from `start`.
struct Sequence {
  at::Tensor tokens;   // [B, T] int64
  at::Tensor targets;  // [B, T] int64: the token that each position should predict; undefined without a loss
  at::Tensor learn;    // [B, T] bool: which targets count
  /// [B]: the position of each row's first token; empty = 0. Positions before it are in the cache of a generation.
  std::vector<int64_t> start = {};
  /// [B]: how many tokens of each row are real; empty = all. What follows them is padding, which no token sees, not
  /// even itself: it matters only to who reads the padding's own vectors (reference 3.4). Not beside a cache, and all
  /// rows of all vertices on one rank.
  std::vector<int64_t> lengths = {};
  /// [B]: the documents of each row, which see nothing of one another and count positions each from 0; empty = each row
  /// is one document. Beside neither a cache nor lengths nor a prefix.
  DocumentStarts documents = {};

  int64_t rows() const { return tokens.size(0); }
  int64_t length() const { return tokens.size(1); }
  Sequence narrow(RowRange range) const;
  /// On that device; itself if it is there.
  Sequence to(at::Device device) const;
};

/// The number of each token's document in its row: int64 [R, T].
at::Tensor document_ids(const DocumentStarts& documents, int64_t length, at::Device device);

}  // namespace lmnet
