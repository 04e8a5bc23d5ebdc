#pragma once
#include "data/loader.h"
#include "model/sequence.h"
#include "parallel/communicator.h"

namespace lmnet {

/// T + 1 tokens a row become T inputs and T targets; where documents are told apart, they are among the inputs.
Sequence to_sequence(const TokenBatch& batch);

/// Gives the batch that rank 0 of a vertex-parallel group read to the others; `rows` and `length` are known to all.
void share_batch(TokenBatch& batch, int64_t rows, int64_t length, Communicator& vertex);

}  // namespace lmnet
