#pragma once
#include <filesystem>

#include "data/tokenizer_spec.h"

namespace lmnet {

/// GPT-2's and Qwen2's vocab.json ({token: id}) and merges.txt (a pair a line, in order of rank; a first line that
/// starts with `#version` is left out). Throws DataError naming file and line.
Vocabulary read_vocab_and_merges(const std::filesystem::path& vocab, const std::filesystem::path& merges);

/// Llama 3's tokenizer.model: 128000 lines of a token in base64 and its rank; its 256 special tokens (as of Llama 3.2)
/// follow. Two parts merge where together they are a token, the lowest rank first. End of text and padding are left
/// open. Throws DataError naming file and line, also for the SentencePiece models of the same name.
TokenizerSpec read_tiktoken(const std::filesystem::path& file);

}  // namespace lmnet
