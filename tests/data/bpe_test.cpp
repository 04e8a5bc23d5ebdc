#include "data/bpe.h"

#include <gmock/gmock.h>

#include <map>
#include <numeric>
#include <random>
#include <string>

namespace lmnet {
namespace {

using testing::ElementsAre;

std::array<int32_t, 256> bytes_as_ids() {
  std::array<int32_t, 256> ids;
  std::iota(ids.begin(), ids.end(), 0);
  return ids;
}

std::vector<int32_t> encode(const std::vector<BpeMerge>& merges, std::string_view word) {
  std::vector<int32_t> ids;
  Bpe(bytes_as_ids(), merges).encode(word, ids);
  return ids;
}

/// The definition, word for word.
std::vector<int32_t> merged_one_by_one(const std::vector<BpeMerge>& merges, std::string_view word) {
  std::map<std::pair<int32_t, int32_t>, const BpeMerge*> known;
  for (const BpeMerge& merge : merges) known[{merge.left, merge.right}] = &merge;
  std::vector<int32_t> ids;
  for (const char c : word) ids.push_back(static_cast<unsigned char>(c));
  while (true) {
    const BpeMerge* best = nullptr;
    size_t at = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto found = known.find({ids[i], ids[i + 1]});
      if (found == known.end() || (best != nullptr && found->second->rank >= best->rank)) continue;
      best = found->second;
      at = i;
    }
    if (best == nullptr) return ids;
    ids[at] = best->result;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}

TEST(Bpe, merges_the_lowest_rank_first_and_the_leftmost_of_equals) {
  const std::vector<BpeMerge> merges = {{'b', 'c', 256, 0}, {'a', 'b', 257, 1}, {'a', 'a', 258, 2}};
  EXPECT_THAT(encode(merges, "abc"), ElementsAre('a', 256));
  EXPECT_THAT(encode(merges, "abab"), ElementsAre(257, 257));
  EXPECT_THAT(encode(merges, "aaa"), ElementsAre(258, 'a'));
  EXPECT_THAT(encode(merges, ""), ElementsAre());
}

TEST(Bpe, takes_the_later_of_two_merges_of_one_pair) {
  EXPECT_THAT(encode({{'a', 'b', 256, 0}, {'a', 'b', 257, 1}}, "ab"), ElementsAre(257));
}

TEST(Bpe, gives_what_merging_one_by_one_gives_for_short_and_long_words) {
  std::mt19937_64 random(5);
  for (int round = 0; round < 60; ++round) {
    std::vector<BpeMerge> merges;
    std::vector<int32_t> known = {'a', 'b', 'c'};
    for (int32_t rank = 0; rank < 30; ++rank) {
      // Ranks in any order, and equal ones, as tiktoken files may have them.
      merges.push_back({known[random() % known.size()], known[random() % known.size()], 256 + rank,
                        static_cast<int32_t>(random() % 25)});
      known.push_back(256 + rank);
    }
    for (int word = 0; word < 20; ++word) {
      std::string text(random() % 120, 'a');
      for (char& c : text) c = static_cast<char>('a' + random() % 3);
      ASSERT_EQ(encode(merges, text), merged_one_by_one(merges, text)) << text;
    }
  }
}

TEST(Bpe, takes_a_word_of_a_million_bytes) {
  const std::vector<BpeMerge> merges = {{'a', 'a', 256, 0}, {256, 256, 257, 1}, {257, 257, 258, 2}};
  EXPECT_EQ(encode(merges, std::string(1'000'000, 'a')), std::vector<int32_t>(125'000, 258));
}

}  // namespace
}  // namespace lmnet
