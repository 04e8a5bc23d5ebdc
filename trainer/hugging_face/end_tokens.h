#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "data/tokenizer.h"
#include "trainer/checkpoint/checkpoint_reader.h"
#include "trainer/config/config.h"

namespace lmnet {

/// The tokens that end a text and the one that fills up a row; none where the network has no such token.
struct EndTokens {
  std::vector<int64_t> ends;
  std::optional<int64_t> padding;
};

/// Of the network in a folder: what generation_config.json says, where that is silent config.json, and then the
/// tokenizer, whose tokens beyond the vocabulary do not count. `tokenizer`: nullptr where it is not the network's own.
/// Throws WeightsError for a file that does not say it as Hugging Face does.
EndTokens end_tokens(const std::filesystem::path& folder, const Tokenizer* tokenizer, int64_t vocabulary);

/// Of the network in a checkpoint. Nothing that was imported without a tokenizer was made for `bytes`: those tokens
/// count once the network was trained on them, or where `data` names them.
EndTokens end_tokens(const CheckpointReader& checkpoint, const DataConfig& data, const Tokenizer& tokenizer,
                     int64_t vocabulary);

/// Writes them as a config.json or generation_config.json has them.
void put_tokens(nlohmann::ordered_json& json, const EndTokens& tokens);

/// The generation_config.json of a folder, a new one where there is none, with these tokens.
std::string generation_config(const std::filesystem::path& folder, const EndTokens& tokens);

}  // namespace lmnet
