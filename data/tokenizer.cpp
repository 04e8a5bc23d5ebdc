#include "data/tokenizer.h"

#include <fmt/format.h>

#include "data/byte_level_tokenizer.h"
#include "data/errors.h"
#include "data/tokenizer_files.h"

namespace lmnet {
namespace {

class ByteTokenizer final : public Tokenizer {
 public:
  std::string name() const override { return "bytes"; }
  int64_t vocabulary() const override { return 258; }
  int32_t end_of_text() const override { return 256; }
  int32_t padding() const override { return 257; }

  void encode(std::string_view text, std::vector<int32_t>& ids) const override {
    ids.reserve(ids.size() + text.size());
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  }
  void encode_special(std::string_view text, std::vector<int32_t>& ids) const override { encode(text, ids); }

  std::string decode(std::span<const int32_t> ids) const override {
    std::string text;
    for (const int32_t id : ids) {
      if (id >= 0 && id < 256) text.push_back(static_cast<char>(id));
    }
    return text;
  }
  std::string decode_special(std::span<const int32_t> ids) const override { return decode(ids); }

  std::optional<int32_t> special(std::string_view) const override { return std::nullopt; }
  std::vector<std::filesystem::path> files() const override { return {}; }
  std::string hash() const override { return name(); }
};

}  // namespace

std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name) {
  if (name == "bytes") return std::make_unique<ByteTokenizer>();
  if (kind_of(name) == std::filesystem::file_type::not_found)
    throw DataError(
        fmt::format("tokenizer \"{}\": there is no such folder or file; the built-in one is `bytes`", name));
  const TokenizerFiles files = find_tokenizer_files(name);
  if (files.all().empty()) {
    throw DataError(fmt::format(
        "tokenizer \"{}\": needed is a folder with tokenizer.json, with vocab.json and merges.txt, or with Llama 3's "
        "tokenizer.model; or such a tokenizer.json or tokenizer.model itself",
        name));
  }
  return std::make_unique<ByteLevelTokenizer>(name, read_tokenizer(files), files.all(), hash_files(files.all()));
}

bool has_tokenizer(const std::filesystem::path& folder) {
  return kind_of(folder) == std::filesystem::file_type::directory && !find_tokenizer_files(folder).all().empty();
}

}  // namespace lmnet
