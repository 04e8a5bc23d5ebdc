#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "data/tokenizer_spec.h"

namespace lmnet {

/// The files of a tokenizer; those that it does not have are empty.
struct TokenizerFiles {
  std::filesystem::path tokenizer_json;
  std::filesystem::path vocab, merges;
  std::filesystem::path tiktoken;
  std::filesystem::path config;

  std::vector<std::filesystem::path> all() const;
};

/// What lies there, links followed; not_found where nothing does. Throws DataError naming what cannot be looked at.
std::filesystem::file_type kind_of(const std::filesystem::path& place);

/// Those of a folder, or the file itself with its tokenizer_config.json; nothing where there is none. Throws DataError
/// as kind_of.
TokenizerFiles find_tokenizer_files(const std::filesystem::path& place);

/// Throw DataError naming the file for what is missing, broken or not supported.
TokenizerSpec read_tokenizer(const TokenizerFiles& files);
std::string hash_files(const std::vector<std::filesystem::path>& files);

}  // namespace lmnet
