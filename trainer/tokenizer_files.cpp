#include "trainer/tokenizer_files.h"

#include "data/tokenizer.h"
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

TextFiles read_tokenizer_files(const std::string& tokenizer) {
  TextFiles texts;
  for (const fs::path& file : make_tokenizer(tokenizer)->files()) {
    // In a folder it is found by the usual name only.
    const bool named_itself = file == fs::path(tokenizer);
    texts[named_itself ? "tokenizer" + file.extension().string() : file.filename().string()] = read_text(file);
  }
  return texts;
}

}  // namespace lmnet
