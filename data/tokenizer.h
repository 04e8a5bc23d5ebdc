#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lmnet {

/// Text to token ids and back. Any bytes are a text; decode(encode(text)) is text, in Unicode's normal form C where the
/// tokenizer normalises. Nothing is added, such as a beginning of text. Safe to use from several threads.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  /// As it was given to make_tokenizer.
  virtual std::string name() const = 0;
  /// All ids are below it.
  virtual int64_t vocabulary() const = 0;
  virtual int32_t end_of_text() const = 0;
  virtual int32_t padding() const = 0;
  /// Appends the ids of `text`; special tokens in the text are not recognised (added tokens that are not special are).
  virtual void encode(std::string_view text, std::vector<int32_t>& ids) const = 0;
  /// Appends the ids of `text`, in which special tokens stand for themselves.
  virtual void encode_special(std::string_view text, std::vector<int32_t>& ids) const = 0;
  /// The bytes of `ids`, which need not be whole characters (see TextStream); end of text, padding, other special
  /// tokens and ids that no token has give nothing.
  virtual std::string decode(std::span<const int32_t> ids) const = 0;
  /// The same with the names of special tokens.
  virtual std::string decode_special(std::span<const int32_t> ids) const = 0;
  /// The id of a special token such as `<|im_start|>`, if there is one.
  virtual std::optional<int32_t> special(std::string_view content) const = 0;
  /// The files it was read from: copies of them in a folder of their own, under their names, are the same tokenizer.
  virtual std::vector<std::filesystem::path> files() const = 0;
  /// Of the files' names and contents, wherever they lie; `bytes` for that one.
  virtual std::string hash() const = 0;
};

/// `bytes`: ids 0-255 are the bytes, 256 ends a text, 257 pads. Otherwise a folder or file of byte-level BPE:
/// - tokenizer.json (Hugging Face, old and new forms), with tokenizer_config.json beside it if it is there;
/// - vocab.json and merges.txt of GPT-2 or Qwen2 (tokenizer_config.json says which, else the vocabulary's size does);
/// - tokenizer.model of Llama 3 (lines of base64 and rank).
/// End of text is tokenizer_config.json's `eos_token`, without it the first that there is of `<|endoftext|>`,
/// `<|end_of_text|>`, `</s>`, `<|im_end|>` and `<|eot_id|>`. Padding is its `pad_token`, without it the first of
/// `<|finetune_right_pad_id|>`, `<pad>` and the end of text. Throws DataError naming the file for what is missing,
/// broken or not supported.
std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name);

/// Whether make_tokenizer finds its files in the folder. Throws DataError naming what cannot be looked at.
bool has_tokenizer(const std::filesystem::path& folder);

}  // namespace lmnet
