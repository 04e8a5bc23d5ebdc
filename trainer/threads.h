#pragma once

namespace lmnet {

/// Gives this process its share of the host's cores for computing, unless OMP_NUM_THREADS says how many threads to use.
void share_cores(int ranks_on_this_host);

}  // namespace lmnet
