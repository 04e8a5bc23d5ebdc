#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lmnet {

/// Text to token ids and back.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual std::string name() const = 0;
  virtual int64_t vocabulary() const = 0;
  virtual int32_t end_of_text() const = 0;
  virtual int32_t padding() const = 0;
  /// Appends the ids of `text`; special tokens in the text are not recognised.
  virtual void encode(std::string_view text, std::vector<int32_t>& ids) const = 0;
  /// The bytes of `ids`; end of text and padding give nothing.
  virtual std::string decode(std::span<const int32_t> ids) const = 0;
};

/// `bytes`: ids 0-255 are the bytes, 256 ends a text, 257 pads. Throws DataError for an unknown name.
std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name);

}  // namespace lmnet
