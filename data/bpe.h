#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace lmnet {

/// `left` and `right`, side by side, become `result`; a lower rank comes first.
struct BpeMerge {
  int32_t left, right, result;
  int32_t rank;
};

/// Byte pair encoding of one word over its bytes: of all neighbours that merge, those of the lowest rank do, the
/// leftmost at equal rank, until none is left (Sennrich et al. 2016; the order of Hugging Face's `tokenizers`). Safe to
/// use from several threads.
class Bpe {
 public:
  /// `bytes`: the id of each byte. Of two merges of the same pair the later counts.
  Bpe(const std::array<int32_t, 256>& bytes, std::span<const BpeMerge> merges);

  /// Appends the ids of `word`, which has less than 2^32 bytes. O(n log n) for n bytes.
  void encode(std::string_view word, std::vector<int32_t>& ids) const;

 private:
  struct Slot {
    uint64_t pair;
    int32_t rank, result;
  };

  void encode_short(std::string_view word, std::vector<int32_t>& ids) const;
  void encode_long(std::string_view word, std::vector<int32_t>& ids) const;
  size_t place_of(uint64_t pair) const;
  const Slot& merge_of(int32_t left, int32_t right) const;

  std::array<int32_t, 256> bytes_;
  std::vector<Slot> slots_;  // open addressing; at most half of them are taken
  int shift_;
};

}  // namespace lmnet
