#pragma once
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "data/errors.h"

namespace lmnet {

/// A compressed stream is cut off or damaged; the caller adds file and record.
class BrokenCompression : public BrokenFile {
 public:
  using BrokenFile::BrokenFile;
};

enum class Compression { none, gzip, zstd };

/// By the first bytes of a file, whatever its name.
Compression compression_of(std::string_view first_bytes);
std::string_view name_of(Compression compression);

/// Bytes of a compressed file, and how many of them are used up.
struct CompressedPiece {
  std::string bytes;
  size_t at = 0;
  bool used_up() const { return at == bytes.size(); }
  std::string_view rest() const { return std::string_view(bytes).substr(at); }
};

/// Turns a compressed file into its text, piece by piece: all gzip members (and zeros after the last one) or zstd
/// frames, one after the other.
class Decompressor {
 public:
  virtual ~Decompressor() = default;

  /// Fills `out` as far as `in` goes and says how far: the piece is used up only where there was room to spare. Throws
  /// BrokenCompression, once all text before the damage is given out, and BrokenFile for what takes too much memory.
  virtual size_t run(CompressedPiece& in, std::span<char> out) = 0;
  /// At the end of the file: throws the same for damage, and where more should come.
  virtual void finish() const = 0;
};

std::unique_ptr<Decompressor> make_decompressor(Compression compression);

}  // namespace lmnet
