#pragma once
#include <filesystem>
#include <map>
#include <string>

#include "data/tokenizer.h"
#include "trainer/config/config.h"
#include "trainer/model_spec.h"

namespace lmnet {

/// What make_tokenizer() takes for a run: `auto` is the tokenizer in the folder of the main backbone, or `bytes`.
std::string tokenizer_name(const DataConfig& data, const ModelSpec& spec);

/// The same for a checkpoint, which holds a copy of the files that it was trained with.
std::string tokenizer_name(const std::filesystem::path& checkpoint, const DataConfig& data);

/// Texts by file name.
using TextFiles = std::map<std::string, std::string>;

/// The files of a tokenizer, by the names that make a folder of them a tokenizer again; none for `bytes`. Throws
/// CheckpointError for what cannot be read.
TextFiles read_tokenizer_files(const Tokenizer& tokenizer);

/// Throws ConfigError that begins with `where` unless these are the files that the checkpoint holds a copy of: a path
/// may lead to others since.
void require_tokenizer_of(const std::filesystem::path& checkpoint, const TextFiles& files, const std::string& where);

}  // namespace lmnet
