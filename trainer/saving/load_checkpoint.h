#pragma once
#include "trainer/checkpoint/checkpoint_reader.h"
#include "trainer/console.h"
#include "trainer/optimizer.h"

namespace lmnet {

/// Reads what this rank holds, whatever the layout that saved it. With `moments` also the optimiser's state, which must
/// be there for exactly what trains. `advance` is told how many tensors are read. Throws CheckpointError.
void load_checkpoint(
    const CheckpointReader& checkpoint, Optimizer& optimizer, bool moments,
    const Advance& advance = [](int64_t, int64_t) {});

}  // namespace lmnet
