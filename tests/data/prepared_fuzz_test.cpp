// Damaged folders of prepared data: the index, what a shard tells of itself, and the bytes of a shard. Each is read or
// refused with a DataError that names the file.
#include <gtest/gtest.h>

#include <array>
#include <random>

#include "data/prepare.h"
#include "data/token_shard.h"
#include "data/unit.h"
#include "tests/data/allocations.h"
#include "tests/data/support.h"

namespace lmnet {
namespace {

class Damage {
 public:
  explicit Damage(uint64_t seed) : random_(seed) {}

  /// Changes as broken disks, editors and copies make them.
  std::string operator()(std::string text) {
    static constexpr std::array<std::string_view, 14> words = {"-1",
                                                               "0",
                                                               "281474976710656",
                                                               "9223372036854775807",
                                                               "1e308",
                                                               "null",
                                                               "true",
                                                               "[]",
                                                               "{}",
                                                               "\"\"",
                                                               "../x",
                                                               "\\ud800",
                                                               "\xff",
                                                               "\"shards\":"};
    for (size_t times = 1 + below(4); times > 0; --times) {
      const size_t at = below(text.size() + 1), length = std::min(text.size() - at, below(20));
      switch (below(6)) {
        case 0:
          if (at < text.size()) text[at] = static_cast<char>(below(256));
          break;
        case 1:
          text.erase(at, length);
          break;
        case 2:
          text.insert(at, words[below(words.size())]);
          break;
        case 3:
          text.insert(at, text.substr(at, length));
          break;
        case 4:
          replace_number(text, words[below(5)]);
          break;
        default:
          if (below(10) == 0) text.resize(at);
      }
    }
    return text;
  }

  size_t below(size_t count) { return static_cast<size_t>(random_() % count); }

 private:
  void replace_number(std::string& text, std::string_view by) {
    const size_t begin = text.find_first_of("0123456789", below(text.size() + 1));
    if (begin == text.npos) return;
    text.replace(begin, text.find_first_not_of("0123456789", begin) - begin, by);
  }

  std::mt19937_64 random_;
};

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
    const std::string text = Damage(seed)(good);
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
    raw_.write("out/index.json", Damage(seed)(good));
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
    const std::string text = Damage(seed)(good);
    refuses([&] { TokenShard::parse(text); });
    EXPECT_LT(test::largest_allocation.load(), size_t{1} << 20);
  }
}

TEST_F(PreparedFuzz, a_shard_with_flipped_bytes_is_read_or_refused) {
  const std::string path = raw_.path("out/shard-00000-0000.h5"), good = test::read_file(path);
  for (uint64_t seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(seed);
    Damage damage(seed);
    std::string bytes = good;
    for (size_t times = 1 + damage.below(3); times > 0; --times)
      bytes[damage.below(bytes.size())] ^= static_cast<char>(1 << damage.below(8));
    raw_.write("damaged.h5", bytes);
    refuses([&] { TokenShardReader(raw_.path("damaged.h5")).verify(); });
  }
}

}  // namespace
}  // namespace lmnet
