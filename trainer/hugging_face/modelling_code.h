#pragma once
#include <span>
#include <string_view>

namespace lmnet {

/// A file of the modelling code that an exported network needs beside its weights.
struct ModellingFile {
  std::string_view name, text;
};

/// The Python files of this folder, built into the program so that they are there wherever it is moved to.
std::span<const ModellingFile> modelling_code();

}  // namespace lmnet
