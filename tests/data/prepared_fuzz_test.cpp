// Damaged folders of prepared data: the index, what a shard tells of itself, and the bytes of a shard. Each is read or
// refused with a DataError that names the file.
#include <gtest/gtest.h>

#include <array>

#include "data/prepare.h"
#include "data/token_shard.h"
#include "data/unit.h"
#include "tests/data/allocations.h"
#include "tests/data/mutator.h"
#include "tests/data/support.h"

namespace lmnet {
namespace {

constexpr std::array<std::string_view, 14> words = {
    "-1",      "0",    "281474976710656", "9223372036854775807", "1e308", "null", "true", "[]", "{}", "\"\"", "../x",
    "\\ud800", "\xff", "\"shards\":"};

std::string damaged(uint64_t seed, std::string text) {
  test::Mutator mutate(seed, words);
  for (size_t times = 1 + mutate.below(4); times > 0; --times) mutate.change(text);
  return text;
}

class PreparedFuzz : public testing::Test {
 protected:
  PreparedFuzz() {
    const Preparation preparation({raw_.write("a.jsonl", test::c4_lines("a", 0, 300))}, parse_format("c4"), *tokenizer_,
                                  raw_.path("out"));
    begin_preparation(preparation);
    const int64_t first = 0;
    prepare_files(preparation, {&first, 1}, 1, [](const PreparationProgress&) {});
    finish_preparation(preparation);
  }

  /// False where it is refused.
  static bool refuses(const std::function<void()>& read) {
    test::largest_allocation = 0;
    try {
      read();
    } catch (const DataError& error) {
      EXPECT_NE(std::string(error.what()), "");
      return true;
    }
    return false;
  }

  test::TempFolder raw_;
  std::unique_ptr<Tokenizer> tokenizer_ = make_tokenizer("bytes");
};

TEST_F(PreparedFuzz, an_index_is_read_or_refused) {
  const std::string good = test::read_file(raw_.path("out/index.json"));
  int refused = 0;
  for (uint64_t seed = 0; seed < 4000; ++seed) {
    SCOPED_TRACE(seed);
    const std::string text = damaged(seed, good);
    refused += refuses([&] {
      const TokenIndex index = TokenIndex::parse(text, "index.json");
      EXPECT_GE(index.total().tokens, 0);
      TokenIndex::parse(index.json(), "again");
    });
    EXPECT_LT(test::largest_allocation.load(), size_t{1} << 20);
  }
  EXPECT_GT(refused, 1000);
}

TEST_F(PreparedFuzz, a_folder_with_a_damaged_index_is_dealt_or_refused) {
  const std::string good = test::read_file(raw_.path("out/index.json"));
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    raw_.write("out/index.json", damaged(seed, good));
    refuses([&] {
      const Shards shards = find_prepared_shards(raw_.path("out"), *tokenizer_, 4);
      int64_t dealt = 0;
      for (const auto& hand : deal(shards, parse_format("c4"), {0, 4, 4}, 1, dealt))
        for (const Unit& unit : hand) EXPECT_GT(unit.count, 0);
    });
  }
}

TEST_F(PreparedFuzz, what_a_shard_tells_of_itself_is_read_or_refused) {
  const std::string good = TokenShardReader(raw_.path("out/shard-00000-0000.h5")).shard().json();
  for (uint64_t seed = 0; seed < 4000; ++seed) {
    SCOPED_TRACE(seed);
    const std::string text = damaged(seed, good);
    refuses([&] { TokenShard::parse(text); });
    EXPECT_LT(test::largest_allocation.load(), size_t{1} << 20);
  }
}

TEST_F(PreparedFuzz, a_shard_with_flipped_bytes_is_read_or_refused) {
  const std::string path = raw_.path("out/shard-00000-0000.h5"), good = test::read_file(path);
  for (uint64_t seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(seed);
    test::Mutator mutate(seed, words);
    std::string bytes = good;
    for (size_t times = 1 + mutate.below(3); times > 0; --times)
      bytes[mutate.below(bytes.size())] ^= static_cast<char>(1 << mutate.below(8));
    raw_.write("damaged.h5", bytes);
    refuses([&] { TokenShardReader(raw_.path("damaged.h5")).verify(); });
  }
}

}  // namespace
}  // namespace lmnet
