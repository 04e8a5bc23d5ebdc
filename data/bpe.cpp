#include "data/bpe.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace lmnet {
namespace {

constexpr size_t kShort = 40;  // bytes: below, searching all pairs is quicker than a heap
constexpr int32_t kNoRank = std::numeric_limits<int32_t>::max();
constexpr uint64_t kNoPair = ~uint64_t{0};

uint64_t pair_of(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

/// The parts of a long word as a linked list.
struct Part {
  int32_t id;
  uint32_t before, after;  // of the first and the last: kNowhere
};
constexpr uint32_t kNowhere = std::numeric_limits<uint32_t>::max();

struct Candidate {
  int32_t rank;
  uint32_t at;
  int32_t left, right;                            // by which one that is out of date is known
  bool operator<(const Candidate& other) const {  // for a heap with the first to merge on top
    return rank != other.rank ? rank > other.rank : at > other.at;
  }
};

}  // namespace

Bpe::Bpe(const std::array<int32_t, 256>& bytes, std::span<const BpeMerge> merges) : bytes_(bytes) {
  const size_t size = std::bit_ceil(2 * merges.size() + 2);
  slots_.assign(size, {kNoPair, kNoRank, 0});
  shift_ = 64 - std::countr_zero(size);
  for (const BpeMerge& merge : merges) {
    const uint64_t pair = pair_of(merge.left, merge.right);
    slots_[place_of(pair)] = {pair, merge.rank, merge.result};
  }
}

size_t Bpe::place_of(uint64_t pair) const {
  size_t place = (pair ^ pair >> 29) * 0x9e3779b97f4a7c15u >> shift_;
  while (slots_[place].pair != pair && slots_[place].pair != kNoPair) place = (place + 1) & (slots_.size() - 1);
  return place;
}

const Bpe::Slot& Bpe::merge_of(int32_t left, int32_t right) const {
  return slots_[place_of(pair_of(left, right))];
}

void Bpe::encode(std::string_view word, std::vector<int32_t>& ids) const {
  word.size() <= kShort ? encode_short(word, ids) : encode_long(word, ids);
}

void Bpe::encode_short(std::string_view word, std::vector<int32_t>& ids) const {
  std::array<int32_t, kShort> parts;
  std::array<const Slot*, kShort> merges;  // of a part and the next
  size_t count = word.size();
  for (size_t i = 0; i < count; ++i) parts[i] = bytes_[static_cast<uint8_t>(word[i])];
  for (size_t i = 0; i + 1 < count; ++i) merges[i] = &merge_of(parts[i], parts[i + 1]);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i)
      if (merges[i]->rank < merges[best]->rank) best = i;
    if (merges[best]->rank == kNoRank) break;
    parts[best] = merges[best]->result;
    --count;
    std::copy(parts.begin() + best + 2, parts.begin() + count + 1, parts.begin() + best + 1);
    std::copy(merges.begin() + best + 1, merges.begin() + count, merges.begin() + best);
    if (best > 0) merges[best - 1] = &merge_of(parts[best - 1], parts[best]);
    if (best + 1 < count) merges[best] = &merge_of(parts[best], parts[best + 1]);
  }
  ids.insert(ids.end(), parts.begin(), parts.begin() + count);
}

void Bpe::encode_long(std::string_view word, std::vector<int32_t>& ids) const {
  const auto size = static_cast<uint32_t>(word.size());
  std::vector<Part> parts(size);
  std::vector<Candidate> heap;
  heap.reserve(size);
  const auto candidate = [&](uint32_t at) -> Candidate {
    const int32_t left = parts[at].id, right = parts[parts[at].after].id;
    return {merge_of(left, right).rank, at, left, right};
  };
  for (uint32_t i = 0; i < size; ++i)
    parts[i] = {bytes_[static_cast<uint8_t>(word[i])], i == 0 ? kNowhere : i - 1, i + 1 == size ? kNowhere : i + 1};
  for (uint32_t i = 0; i + 1 < size; ++i)
    if (const Candidate next = candidate(i); next.rank != kNoRank) heap.push_back(next);
  std::make_heap(heap.begin(), heap.end());
  const auto push = [&](uint32_t at) {
    if (at == kNowhere || parts[at].after == kNowhere) return;
    const Candidate next = candidate(at);
    if (next.rank == kNoRank) return;
    heap.push_back(next);
    std::push_heap(heap.begin(), heap.end());
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    const Candidate merge = heap.back();
    heap.pop_back();
    Part& left = parts[merge.at];
    if (left.id != merge.left || left.after == kNowhere || parts[left.after].id != merge.right) continue;
    Part& right = parts[left.after];
    left.id = merge_of(merge.left, merge.right).result;
    left.after = right.after;
    if (left.after != kNowhere) parts[left.after].before = merge.at;
    right.id = -1;  // no longer a part
    push(left.before);
    push(merge.at);
  }
  for (uint32_t at = 0; at != kNowhere; at = parts[at].after) ids.push_back(parts[at].id);
}

}  // namespace lmnet
