#pragma once
#include <memory>
#include <vector>

#include "parallel/transport.h"

namespace lmnet {

/// Transports between `size` ranks that are threads of this process, by rank. They carry the names of collectives and
/// empty messages, so that both ends find every disagreement. `bells[r]` rings when something has come for rank r.
std::vector<std::unique_ptr<Transport>> make_thread_transports(const std::vector<std::shared_ptr<Bell>>& bells);

}  // namespace lmnet
