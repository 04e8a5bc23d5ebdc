#pragma once
#include <string>

#include "trainer/data_words.h"
#include "trainer/inspect/inspect.h"

namespace lmnet {

/// Whether `lmnet inspect` is to look at data: at a folder that `lmnet prepare` has written, or at raw data.
bool is_data(const std::string& what, const DataWords& words);

/// Counts, lengths and a few samples of data, what is read only marked. `verify` reads every shard of prepared data to
/// its end. Prepared data finds its tokenizer by itself where that lies where it lay. Throws ConfigError and DataError.
std::string inspect_data(const std::string& what, const DataWords& words, const InspectOptions& options);

}  // namespace lmnet
