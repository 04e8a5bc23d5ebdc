#include "data/tokenizer.h"

#include <fmt/format.h>

#include "data/errors.h"

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

  std::string decode(std::span<const int32_t> ids) const override {
    std::string text;
    for (const int32_t id : ids) {
      if (id >= 0 && id < 256) text.push_back(static_cast<char>(id));
    }
    return text;
  }
};

}  // namespace

std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name) {
  if (name == "bytes") return std::make_unique<ByteTokenizer>();
  if (name.find('/') != std::string::npos || name.ends_with(".json")) {
    throw DataError(
        fmt::format("tokenizer \"{}\": Hugging Face tokenizers are not built yet; the one there is: bytes", name));
  }
  throw DataError(fmt::format("unknown tokenizer \"{}\"; the one there is: bytes", name));
}

}  // namespace lmnet
