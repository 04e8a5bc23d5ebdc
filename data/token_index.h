#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/data_files.h"
#include "data/document.h"

namespace lmnet {

/// How much prepared data there is.
struct TokenCounts {
  int64_t documents = 0, tokens = 0, learnt = 0;
  int64_t text_bytes = 0;        // that they were made of
  std::vector<int64_t> lengths;  // documents with 2^i tokens or more, below 2^(i + 1)

  void add(const Document& document, int64_t bytes);
  void add(const TokenCounts& others);
};

/// index.json of a folder of prepared data: what it was made of and what there is. The folder's shards are HDF5 files.
struct TokenIndex {
  struct Input {
    std::string name;  // of the raw file, without its folder
    int64_t bytes = 0;
  };
  struct Shard {
    std::string file;
    int64_t bytes = 0;
    TokenCounts counts;
  };

  std::string fingerprint;  // of the raw files, the format and the tokenizer
  std::string format;
  bool masks = false;  // whether some part of documents is read only
  std::string tokenizer, tokenizer_hash;
  int64_t vocabulary = 0;  // all tokens are below it
  bool complete = false;
  std::vector<Input> inputs;
  std::vector<Shard> shards;

  TokenCounts total() const;
  std::string json() const;
  /// Throws DataError that begins with `where`.
  static TokenIndex parse(const std::string& json, const std::string& where);

  static constexpr const char* file_name = "index.json";
  /// Whether a folder holds prepared data, complete or not.
  static bool is_in(const std::filesystem::path& folder);
  /// The folder that a source of the format `prepared` names. Throws DataError where it names none, or several.
  static std::filesystem::path folder_of(const Paths& paths);
  /// Throws DataError for what is missing, damaged or of another version.
  static TokenIndex read(const std::filesystem::path& folder);
  /// Replaces the file as a whole.
  void write(const std::filesystem::path& folder) const;
};

}  // namespace lmnet
