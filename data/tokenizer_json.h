#pragma once
#include <cstdint>
#include <filesystem>

#include "data/json_file.h"
#include "data/tokenizer_spec.h"

namespace lmnet {

/// Hugging Face's tokenizer.json; end of text and padding are left open. What its post-processor adds to a text is not
/// read. Throws DataError naming file and key for what is broken or is no byte-level BPE as described in tokenizer.h:
/// another model, normaliser, pre-tokenizer or decoder is refused by name.
TokenizerSpec read_tokenizer_json(const std::filesystem::path& file);

/// {content, special, normalized, …} as tokenizer.json and tokenizer_config.json write it.
AddedToken read_added_token(const JsonValue& entry, int64_t id);

}  // namespace lmnet
