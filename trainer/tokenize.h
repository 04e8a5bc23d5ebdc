#pragma once
#include <string>

namespace lmnet {

struct TokenizeOptions {
  std::string tokenizer;  // bytes, a folder or a tokenizer.json
  std::string file;       // JSON lines; empty = standard input
  bool decode = false;    // ids to text also where a line has both; a line with ids alone always is
  bool special = false;   // special tokens in a text are read, and in what is decoded written, as such
};

/// Reads {"text": …} or {"ids": […]} lines and prints {"text": …, "ids": […]} for each, in order. Decoded bytes that
/// are no UTF-8 are printed as U+FFFD. Throws DataError naming file and line. Returns the process's exit code.
int tokenize(const TokenizeOptions& options);

}  // namespace lmnet
