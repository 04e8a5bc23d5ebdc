#pragma once
#include "trainer/checkpoint/checkpoint_reader.h"
#include "trainer/optimizer.h"

namespace lmnet {

/// Reads what this rank holds, whatever the layout that saved it. With `moments` also the optimiser's state, which must
/// be there for exactly what trains. Throws CheckpointError.
void load_checkpoint(const CheckpointReader& checkpoint, Optimizer& optimizer, bool moments);

}  // namespace lmnet
