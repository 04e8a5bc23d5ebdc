#pragma once
#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

namespace lmnet {

/// The ids of short pieces met before. Of pieces that share a place the latest stays, so that its size is fixed.
class PieceCache {
 public:
  static constexpr size_t kBytes = 30, kIds = 8;  // of a piece; an entry is a cache line

  struct Entry {
    std::array<int32_t, kIds> ids;
    std::array<char, kBytes> bytes;
    uint8_t size = 0;
    uint8_t count = 0;

    bool holds(std::string_view piece) const {
      return size == piece.size() && std::memcmp(bytes.data(), piece.data(), size) == 0;
    }
    void store(std::string_view piece, std::span<const int32_t> tokens) {
      if (tokens.size() > kIds) return;
      std::memcpy(bytes.data(), piece.data(), piece.size());
      std::memcpy(ids.data(), tokens.data(), tokens.size_bytes());
      size = static_cast<uint8_t>(piece.size());
      count = static_cast<uint8_t>(tokens.size());
    }
  };

  PieceCache() : entries_(size_t{1} << kLogEntries) {}

  /// Where `piece`, of 1 to kBytes bytes, stands or belongs.
  Entry& place(std::string_view piece) {
    uint64_t hash = piece.size();
    for (size_t at = 0; at < piece.size(); at += 8) {
      uint64_t word = 0;
      std::memcpy(&word, piece.data() + at, piece.size() - at < 8 ? piece.size() - at : 8);
      hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
      hash ^= hash >> 32;
    }
    return entries_[hash * 0xbf58476d1ce4e5b9u >> (64 - kLogEntries)];
  }

 private:
  static constexpr int kLogEntries = 15;

  std::vector<Entry> entries_;
};

}  // namespace lmnet
