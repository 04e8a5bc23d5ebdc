// Damaged tokenizer.json files: each is read or refused with a DataError, and no allocation is larger than a small file
// explains.
#include <gtest/gtest.h>

#include "data/split_pattern.h"
#include "tests/data/allocations.h"
#include "tests/data/mutator.h"
#include "tests/data/tokenizer_support.h"

namespace lmnet {
namespace {

constexpr std::string_view words[] = {
    "-1",      "2147483647",    "9223372036854775807", "1e308",   "null",       "true",    "[]",
    "{}",      "\"\"",          "\"Sequence\"",        "[[[[",    "{\"type\":", "\\ud800", "\xff",
    "\"NFC\"", "\"ByteLevel\"", "\"Regex\"",           "(a+)+",   "{999999}",   "\\p{",    "[^",
    "]",       "\"id\":99999",  "\"added_tokens\":",   "\"a b\","};

/// Small changes and such as confuse readers: of values, and of the text.
class Damage {
 public:
  explicit Damage(uint64_t seed) : mutator_(seed, words) {}

  std::string operator()(nlohmann::json json) {
    for (size_t times = below(4); times > 0; --times) change(json);
    std::string text = json.dump();
    for (size_t times = below(3); times > 0; --times) mutator_.change(text, place(text));
    return text;
  }

 private:
  size_t below(size_t count) { return mutator_.below(count); }

  void change(nlohmann::json& json) {
    static const nlohmann::json values[] = {-1,
                                            2147483647,
                                            1e308,
                                            nullptr,
                                            true,
                                            "",
                                            "NFC",
                                            "Sequence",
                                            "ByteLevel",
                                            "a+|b",
                                            "(?:a|b*)+",
                                            nlohmann::json::array(),
                                            nlohmann::json::object()};
    nlohmann::json* at = &json;
    while (at->is_structured() && !at->empty() && below(8) > 0) {
      auto child = at->begin();
      std::advance(child, below(at->size()));
      if (below(20) == 0) {
        at->erase(child);
        return;
      }
      at = &*child;
    }
    *at = values[below(std::size(values))];
  }

  /// Half of all changes hit what is not the vocabulary, which is most of the text.
  size_t place(const std::string& text) {
    const size_t vocab = text.find("\"vocab\"");
    if (below(2) == 0 && vocab != std::string::npos && vocab > 0) return below(vocab);
    return below(text.size() + 1);
  }

  test::Mutator mutator_;
};

TEST(TokenizerFuzz, damaged_files_are_read_or_refused) {
  const test::Merges merges = {{"t", "h"}, {"th", "e"}, {" ", " "}};
  auto json = test::small_tokenizer(merges, kLlama3Pattern);
  json["normalizer"] = {{"type", "NFC"}};
  json["added_tokens"].push_back({{"id", 260}, {"content", "<t>"}, {"special", false}, {"normalized", true}});
  const std::vector<nlohmann::json> seeds = {json, test::small_tokenizer(merges)};
  const std::string text = "the  th <t> 12345 e\xcc\x81\xff<|endoftext|>";
  const test::TempFolder folder;
  Damage damage(4);
  test::largest_allocation = 0;
  int read = 0;
  for (int i = 0; i < 4000; ++i) {
    const std::string damaged = damage(seeds[static_cast<size_t>(i) % seeds.size()]);
    const std::string file = folder.write("tokenizer.json", damaged);
    try {
      const auto tokenizer = make_tokenizer(file);
      const std::string again = tokenizer->decode_special(test::encode(*tokenizer, text));
      EXPECT_TRUE(again == text || again.find("\xc3\xa9") != std::string::npos) << damaged;
      ++read;
    } catch (const DataError&) {
    }
    ASSERT_LT(test::largest_allocation, size_t{4} << 20) << damaged;
  }
  EXPECT_GT(read, 200);  // not all is refused at the first look
}

}  // namespace
}  // namespace lmnet
