#pragma once
#include <filesystem>
#include <string>

#include "trainer/inspect/inspect.h"

namespace lmnet {

/// A .safetensors file, the index of several, or a Hugging Face folder with one of both.
bool has_safetensors(const std::filesystem::path& what);

/// Names, dtypes and shapes of the tensors in such a file or folder, as text or JSON; a folder's are checked against
/// its config.json. `verify` reads every value and refuses those that are no finite numbers. Throws WeightsError.
std::string inspect_weights(const std::filesystem::path& what, const InspectOptions& options);

}  // namespace lmnet
