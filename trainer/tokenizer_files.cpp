#include "trainer/tokenizer_files.h"

#include <fmt/format.h>

#include <algorithm>

#include "model/graph/errors.h"
#include "trainer/checkpoint/file_io.h"

namespace lmnet {

namespace fs = std::filesystem;

std::string tokenizer_name(const DataConfig& data, const ModelSpec& spec) {
  if (data.tokenizer != "auto") return data.tokenizer;
  const fs::path& folder = spec.files.path;
  return !folder.empty() && has_tokenizer(folder) ? folder.string() : "bytes";
}

std::string tokenizer_name(const fs::path& checkpoint, const DataConfig& data) {
  if (has_tokenizer(checkpoint)) return checkpoint.string();
  return data.tokenizer == "auto" ? "bytes" : data.tokenizer;
}

TextFiles read_tokenizer_files(const Tokenizer& tokenizer) {
  TextFiles texts;
  for (const fs::path& file : tokenizer.files()) {
    // In a folder it is found by the usual name only.
    const bool named_itself = file == fs::path(tokenizer.name());
    texts[named_itself ? "tokenizer" + file.extension().string() : file.filename().string()] = read_text(file);
  }
  return texts;
}

void require_tokenizer_of(const fs::path& checkpoint, const TextFiles& files, const std::string& where) {
  const auto kept = [&](const auto& file) {
    return path_exists(checkpoint / file.first) && read_text(checkpoint / file.first) == file.second;
  };
  if (has_tokenizer(checkpoint) == !files.empty() && std::ranges::all_of(files, kept)) return;
  throw ConfigError(fmt::format(
      "{}: the tokenizer's files are not those that {} was trained with; put the copies that lie there back "
      "to where data.tokenizer looks, or begin a new run",
      where, checkpoint.string()));
}

}  // namespace lmnet
