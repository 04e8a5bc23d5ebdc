#pragma once
#include <nlohmann/json.hpp>

#include "data/token_index.h"

namespace lmnet {

// Counts as they stand in index.json and in the shards. Reading throws nlohmann's exceptions and DataError.

nlohmann::ordered_json to_json(const TokenCounts& counts);
TokenCounts parse_counts(const nlohmann::json& json);
/// A whole number, 0 or above.
int64_t count_of(const nlohmann::json& json);

}  // namespace lmnet
