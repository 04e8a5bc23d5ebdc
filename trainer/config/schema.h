#pragma once
#include <span>
#include <string>
#include <vector>

#include "trainer/config/codec.h"

namespace lmnet::config {

/// Every key of a config.
Mapping<Config> config_schema();

/// Throws ConfigError for a key of the tree that the schema does not have.
void check_keys(const Node& tree, std::span<const KeyInfo> keys);

/// Throws ConfigError that names the nearest of the `known` keys of the mapping at `path`.
[[noreturn]] void refuse_key(const Node& entry, const std::string& path, std::span<const std::string> known,
                             const std::string& elsewhere = "");

}  // namespace lmnet::config
