#pragma once
#include <cstdint>
#include <initializer_list>
#include <numeric>
#include <string_view>
#include <utility>
#include <vector>

namespace lmnet {

/// The finaliser of SplitMix64: a bijection that spreads every bit. Fixed for ever: it orders the data of stored runs.
constexpr uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

constexpr uint64_t hash_step(uint64_t hash, uint64_t value) {
  return mix(hash * 0x9e3779b97f4a7c15u + value + 0x632be59bd9b4e019u);
}

constexpr uint64_t hash_of(std::initializer_list<uint64_t> values) {
  uint64_t hash = 0;
  for (const uint64_t value : values) hash = hash_step(hash, value);
  return hash;
}

constexpr uint64_t hash_of(std::string_view text) {
  uint64_t hash = text.size();
  for (const char c : text) hash = hash_step(hash, static_cast<unsigned char>(c));
  return hash;
}

/// 0 … count - 1 in an order that only `key` decides.
inline std::vector<int64_t> permutation(int64_t count, uint64_t key) {
  std::vector<int64_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  for (uint64_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[hash_of({key, i}) % i]);
  return order;
}

}  // namespace lmnet
